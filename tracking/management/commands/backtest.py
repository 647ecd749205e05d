"""Try detectors with other thresholds on what is on record."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone
from tqdm import tqdm

from tracking import backtest
from tracking.backtest import Backtest, Hour, Suspect
from tracking.engine.findings import read_change
from tracking.engine.text import printable
from tracking.management.moments import moment
from tracking.management.tables import table

HOURS = ("HOUR (UTC)", "FLAGGED", "BLOCKED", "USERS REFUSED")
TARGETS = ("TARGET", "DETECTOR", "SEVERITY", "COUNT", "FIRST (UTC)", "RESPONSE", "USERS SEEN")
MOST_NAMES = 5  # of users, on one line

Change = tuple[str, str, int | str]


class Command(BaseCommand):
    help = (
        "Show whom detectors would have flagged and blocked over the last day, or other times, with"
        " thresholds as they are or others. Nothing is changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--detector",
            action="append",
            default=[],
            metavar="NAME",
            help="only this detector; may be given several times (default: all that are on)",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            type=_change,
            dest="changes",
            metavar="flood.requests=200",
            help="another threshold, or flood.mode=SUGGEST; may be given several times",
        )
        parser.add_argument(
            "--since", type=moment, metavar="WHEN", help="2026-11-22T10:30, or 7d for a week ago"
        )
        parser.add_argument("--until", type=moment, metavar="WHEN", help="not included")
        parser.add_argument("--json", action="store_true", dest="as_json", help="for programs")

    def handle(
        self,
        *,
        detector: list[str],
        changes: list[Change],
        since: datetime | None,
        until: datetime | None,
        as_json: bool,
        **_: Any,
    ) -> None:
        end = until or timezone.now()
        told = _simulated(detector, changes, since or end - timedelta(days=1), end)
        if as_json:
            self.stdout.write(json.dumps(_facts(told), indent=2))
            return
        if told.targets:
            busy = [hour for hour in told.hours if hour.flagged or hour.users]
            self.stdout.write(table(HOURS, map(_hour_line, busy)) + "\n")
            self.stdout.write(table(TARGETS, map(_target_line, told.targets)) + "\n")
        self.stdout.write(_summary(told))


def _simulated(names: list[str], changes: list[Change], start: datetime, end: datetime) -> Backtest:
    by_detector: dict[str, dict[str, object]] = {}
    for name, threshold, value in changes:
        by_detector.setdefault(name, {})[threshold] = value
    with tqdm(unit="h", disable=None, leave=False, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        try:
            return backtest.simulate(names, by_detector, start, end, progress)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database is away ({error}): run this again.") from None


def _summary(told: Backtest) -> str:
    flagged = {one.target for one in told.targets}
    blocked = {one.target for one in told.targets if one.would_block}
    users = {name for hour in told.hours for name in hour.users}
    return (
        f"From {_minute(told.start)} to {_minute(told.end)} UTC {len(flagged)} targets would have"
        f" been flagged and {len(blocked)} blocked, and {len(users)} signed-in users refused."
    )


def _hour_line(hour: Hour) -> tuple[str, ...]:
    return (_minute(hour.start), str(hour.flagged), str(hour.blocked), _names(hour.users))


def _target_line(one: Suspect) -> tuple[str, ...]:
    return (
        one.target,
        one.detector,
        one.severity,
        str(one.count),
        _minute(one.first),
        "would be blocked" if one.would_block else f"none: {one.because}",
        _names(one.users),
    )


def _names(names: Iterable[str]) -> str:
    shorter = [printable(name, 40) for name in names]
    hidden = len(shorter) - MOST_NAMES
    return ", ".join(shorter[:MOST_NAMES]) + (f" and {hidden} more" if hidden > 0 else "")


def _facts(told: Backtest) -> dict[str, Any]:
    return {
        "start": told.start.isoformat(),
        "end": told.end.isoformat(),
        "hours": [
            {
                "start": hour.start.isoformat(),
                "flagged": hour.flagged,
                "blocked": hour.blocked,
                "users": list(hour.users),
            }
            for hour in told.hours
        ],
        "targets": [
            {
                "target": one.target,
                "detector": one.detector,
                "severity": one.severity,
                "count": one.count,
                "first": one.first.isoformat(),
                "would_block": one.would_block,
                "because": one.because,
                "users": list(one.users),
            }
            for one in told.targets
        ],
    }


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _change(text: str) -> Change:
    try:
        return read_change(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
