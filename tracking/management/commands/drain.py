"""Move what the journal holds into the database, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from tracking import drainer


class Command(BaseCommand):
    help = (
        "Move every complete record of this node's journal into the database. Web processes do"
        " this by themselves; run it (from cron, say) where their background thread is off."
    )

    def handle(self, **_: Any) -> None:
        try:
            rows = drainer.drain()
            drainer.bound()
            drainer.clear()
        except DatabaseError as error:
            raise CommandError(
                f"The database is away ({error}); the journal keeps its records until it is back."
            ) from None
        self.stdout.write(f"{rows} recorded, {drainer.backlog()} bytes left in the journal")
