"""Take an address or a user out of everything that is on record."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from tracking import audit, privacy
from tracking.datasubject import DataSubject
from tracking.holdings import KEPT
from tracking.management.subjects import add_arguments, subject
from tracking.privacy import Report


class Command(BaseCommand):
    help = (
        "Delete what is on record about an address, a network or a user, and take them out of what"
        " is kept for another reason; show how many rows of each table, and what stays and why."
        " Asks before it acts. What comes from them afterwards is recorded as ever."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="only show what would go")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--reason", default="", help="why, for the audit log; name nobody here")

    def handle(self, *, dry_run: bool, yes: bool, reason: str, **options: Any) -> None:
        whose = subject(options)
        try:
            if dry_run or not yes:
                self._show(privacy.preview(whose), "would be ")
            if dry_run:
                return
            if not yes:
                self._ask(whose)
            self._show(privacy.erase(audit.COMMAND_LINE, whose, reason), "")
        except DatabaseError as error:
            raise CommandError(f"The database is away ({error}): run this again.") from None

    def _show(self, report: Report, word: str) -> None:
        for line in _lines(report, word):
            self.stdout.write(line)

    def _ask(self, whose: DataSubject) -> None:
        try:
            answer = input(f"Erase this for good? Write {whose} to go on: ")
        except (EOFError, KeyboardInterrupt):
            answer = ""
        if answer.strip() != str(whose):
            raise CommandError("Nothing is erased.")


def _lines(report: Report, word: str) -> Iterator[str]:
    told = [line for line in report.lines if line.rows]
    for line in told:
        fate = line.fate if line.fate == KEPT else f"{word}{line.fate}"
        yield f"{line.table:14} {line.rows:>10} {fate}{f': {line.why}' if line.why else ''}"
    if not told:
        yield "Nothing is on record."
    if report.note:
        yield report.note
