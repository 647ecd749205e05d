"""Look up the places of requests that were recorded without one."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from tracking.backfill import Advance, Backfill, NoDatabaseError, Report
from tracking.management.moments import moment


class Command(BaseCommand):
    help = (
        "Look up the country, the city and the network of requests that were recorded without a"
        " place, with the databases that are there now. A run that was stopped is taken up where"
        " it was; places that are on record are never changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            type=moment,
            metavar="WHEN",
            help="only requests made since then: 2026-11-22T10:30, or 7d for a week ago",
        )

    def handle(self, *, since: datetime | None, **_: Any) -> None:
        backfill = Backfill(since)
        try:
            with tqdm(disable=None, desc="places", leave=False) as bar:
                backfill.run(_moving(bar))
        except NoDatabaseError:
            raise CommandError(
                "There is no database of places; fetch some with manage.py update_geoip."
            ) from None
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {_told(backfill.report)}; {_AGAIN}") from None
        except DatabaseError as error:
            raise CommandError(
                f"The database is away ({error}). {_told(backfill.report)}; {_AGAIN}"
            ) from None
        self.stdout.write(f"{_told(backfill.report)}.")


_AGAIN = "run this again to go on."


def _told(report: Report) -> str:
    rows = report.located + report.nowhere + report.unknown
    return (
        f"{rows} rows without a place: {report.located} have one now, {report.nowhere} are of"
        f" addresses that are nowhere (private ones, say), {report.unknown} no database knows"
    )


def _moving(bar: tqdm[Any]) -> Advance:
    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance
