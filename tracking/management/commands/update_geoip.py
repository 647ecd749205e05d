"""Fetch databases of places."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from tracking.download import Advance, RefusedError
from tracking.geosources import SOURCES
from tracking.geoupdate import EDITIONS, Order, Outcome, editions, update

UNREACHABLE = 3
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    help = (
        "Fetch the databases that tell the country, city and network of an address: MaxMind's or"
        " IPinfo's with an account, DB-IP Lite without one, or any MMDB file (plain, gzip or"
        " tar.gz) from --url or --file. Running processes"
        " read them within three seconds. Exit status: 0 = updated or current, 3 = no source"
        " reachable, 1 = what came is not usable; the database in place stays in both cases."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--edition", action="append", choices=EDITIONS, help="default: city and asn"
        )
        origin = parser.add_mutually_exclusive_group()
        origin.add_argument(
            "--source",
            choices=("auto", *(source.key for source in SOURCES)),
            default="auto",
            help="whom to ask; auto: MaxMind where GEOIPUPDATE_ACCOUNT_ID and"
            " GEOIPUPDATE_LICENSE_KEY are set, else IPinfo Lite where IPINFO_TOKEN is set (it has"
            " no cities), else DB-IP Lite",
        )
        origin.add_argument("--url", help="fetch this instead (one edition)")
        origin.add_argument("--file", type=Path, help="take this file instead (one edition)")
        parser.add_argument("--sha256", type=_sha256, help="what --url or --file must have")
        parser.add_argument(
            "--check", action="store_true", help="only tell whether there is something newer"
        )
        parser.add_argument(
            "--force", action="store_true", help="take it though it is older or unchanged"
        )
        parser.add_argument(
            "--if-older",
            type=_age,
            metavar="AGE",
            help="do nothing when a source was asked less than AGE ago (12h, 7d)",
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, json: bool, **options: Any) -> None:
        orders = _orders(options)
        try:
            with tqdm(unit="B", unit_scale=True, disable=None, desc="places", leave=False) as bar:
                outcomes = update(orders, _moving(bar))
        except RefusedError as error:
            raise CommandError(f"{error}.") from None
        self._tell(outcomes, as_json=json)
        states = {outcome.state for outcome in outcomes}
        if states & {"failed", "unreachable"}:
            raise SystemExit(1 if "failed" in states else UNREACHABLE)

    def _tell(self, outcomes: list[Outcome], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
            return
        for outcome in outcomes:
            out = self.stderr if outcome.state in {"failed", "unreachable"} else self.stdout
            out.write(f"{outcome.edition}: {outcome.state}. {outcome.message}")
        for credit in sorted({_credit(outcome) for outcome in outcomes} - {""}):
            self.stdout.write(credit)


def _orders(options: dict[str, Any]) -> list[Order]:
    wanted = options["edition"] or (
        EDITIONS[:1] if options["url"] or options["file"] else editions()
    )
    if (options["url"] or options["file"]) and len(wanted) > 1:
        raise CommandError("--url and --file bring one database; name one --edition.")
    if options["sha256"] and not (options["url"] or options["file"]):
        raise CommandError("--sha256 goes with --url or --file.")
    if options["check"] and options["file"]:
        raise CommandError("--check asks a server; it does not go with --file.")
    given = {
        name: options[name] for name in ("url", "file", "sha256", "force", "check", "if_older")
    }
    given["source"] = None if options["source"] == "auto" else options["source"]
    return [Order(edition=edition, **given) for edition in dict.fromkeys(wanted)]


def _credit(outcome: Outcome) -> str:
    about = outcome.about
    if "attribution" not in about:
        return ""
    return f"{about['attribution']} ({about['licence']}): where places are shown, link back to it."


def _moving(bar: tqdm[Any]) -> Advance:
    def advance(more: int, total: int | None) -> None:
        if more:
            bar.update(more)
        else:
            bar.reset(total)

    return advance


def _age(text: str) -> timedelta:
    written = re.fullmatch(r"([0-9]{1,4})([mhdw])", text, re.ASCII)
    if not written:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age: write 12h, 7d or 2w")
    return timedelta(**{UNITS[written[2]]: int(written[1])})


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 (64 hexadecimal digits)")
    return text
