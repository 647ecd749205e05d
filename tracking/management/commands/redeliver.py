"""Tell webhooks once more."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import alerts


class Command(BaseCommand):
    help = (
        "Let the worker send events to the webhooks anew: those with these ids, delivered or not,"
        " or with --failed all that could not be delivered. Receivers know them by their id."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("events", nargs="*", metavar="msg_...", help="the id of an event")
        parser.add_argument("--failed", action="store_true", help="all that were not delivered")

    def handle(self, *, events: list[str], failed: bool, **_: Any) -> None:
        if failed == bool(events):
            raise CommandError("Write either ids of events or --failed.", returncode=2)
        number = alerts.redeliver(timezone.now(), None if failed else events)
        self.stdout.write(f"{number} {'delivery' if number == 1 else 'deliveries'} to make")
