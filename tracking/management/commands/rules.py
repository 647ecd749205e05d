"""Show the rules."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import geo
from tracking.engine.address import AddressError, parse_address
from tracking.engine.ruletext import FOREVER
from tracking.management.tables import table
from tracking.models import AccessRule
from tracking.rulefiles import told

HEAD = ("TARGET", "ACTION", "UNTIL (UTC)", "HITS", "LAST HIT (UTC)", "BY", "REASON")


class Command(BaseCommand):
    help = (
        "Show the rules in force, the oldest first; with an address, those about it, the networks"
        " that hold it, its country and its autonomous system."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", metavar="ADDRESS")
        parser.add_argument("--json", action="store_true", dest="as_json", help="for programs")
        parser.add_argument("--all", action="store_true", dest="ended_too", help="those over, too")

    def handle(self, *, address: str | None, as_json: bool, ended_too: bool, **_: Any) -> None:
        rows = AccessRule.objects.order_by("pk")
        if not ended_too:
            rows = rows.live(timezone.now())
        if address is not None:
            try:
                parsed = parse_address(address)
            except AddressError as error:
                raise CommandError(f"{error}.") from None
            rows = rows.about(parsed, geo.locate(parsed))
        if as_json:
            facts = [told(row) | {"ended_at": _ended(row)} for row in rows]
            self.stdout.write(json.dumps(facts, indent=2))
        elif lines := [_line(row) for row in rows]:
            self.stdout.write(table(HEAD, lines))
        else:
            self.stderr.write("There is no such rule.")


def _line(row: AccessRule) -> tuple[str, ...]:
    action = f"{row.action} (observed)" if row.observed else row.action
    scope = " ".join(part for part in (*row.methods, row.path) if part)
    return (
        f"{row.target} {scope}".strip(),
        action,
        f"ended {_minute(row.ended_at)}" if row.ended_at else _minute(row.expires_at) or FOREVER,
        str(row.hits),
        _minute(row.last_hit_at) or "-",
        row.created_by,
        row.reason,
    )


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _ended(row: AccessRule) -> str | None:
    return None if row.ended_at is None else row.ended_at.isoformat()
