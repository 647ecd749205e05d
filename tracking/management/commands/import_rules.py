"""Make rules from a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from tracking import audit, rulefiles, ruleimport
from tracking.management.targets import add_duration, until
from tracking.ruleimport import Report

MOST_TOLD = 100  # bad lines; a file that is something else altogether has a million


class Command(BaseCommand):
    help = (
        "Make rules from a list of targets, CSV or JSON. Bad lines are told with their numbers,"
        " good ones applied, and the exit code is then 1. Rules that are there already stay as"
        " they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="- is standard input")
        parser.add_argument(
            "--format",
            choices=rulefiles.READABLE,
            dest="file_format",
            help="else by the end of the name, and plain: a target on each line, # and ; comments",
        )
        add_duration(parser)
        parser.add_argument("--reason", default="", help="of lines that give none")
        parser.add_argument("--strict", action="store_true", help="one bad line: change nothing")
        parser.add_argument("--dry-run", action="store_true", help="change nothing, only tell")
        parser.add_argument("--force", action="store_true", help="even targets that are very wide")

    def handle(
        self, *, file: str, file_format: str | None, duration: timedelta | None, **options: Any
    ) -> None:
        defaults = rulefiles.Defaults(until(duration), options["reason"], options["force"])
        try:
            with _opened(file) as lines:
                report = ruleimport.bring_in(
                    audit.COMMAND_LINE,
                    rulefiles.read(file_format or rulefiles.format_of(file), lines, defaults),
                    strict=options["strict"],
                    dry_run=options["dry_run"],
                )
        except (OSError, rulefiles.FileError) as error:
            raise CommandError(str(error)) from None
        self._tell(report)

    def _tell(self, report: Report) -> None:
        for number, problem in report.bad[:MOST_TOLD]:
            self.stderr.write(f"line {number}: {problem}")
        if len(report.bad) > MOST_TOLD:
            self.stderr.write(f"and {len(report.bad) - MOST_TOLD} more bad lines")
        verb = "made" if report.applied else "that would be made, though nothing is changed"
        self.stdout.write(f"rules {verb}: {report.made}; there already: {report.known}")
        if report.bad:
            raise CommandError(f"Bad lines: {len(report.bad)}.")


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    # Bytes that are no UTF-8 become text that no target has, so that their line is told as bad.
    how = {"encoding": "utf-8-sig", "errors": "backslashreplace", "newline": ""}
    if name != "-":
        with Path(name).open(**how) as lines:  # type: ignore[call-overload]
            yield lines
    elif isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(**how)  # type: ignore[arg-type]
        yield sys.stdin
    else:
        yield sys.stdin
