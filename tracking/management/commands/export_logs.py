"""Write requests of the record to a file, for spreadsheets and programs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseProblem
from tqdm import tqdm

from tracking import audit, export
from tracking.export import BrokenOffError, Format, Selection
from tracking.management import requests
from tracking.management.files import private_file


class Command(BaseCommand):
    help = (
        "Write the requests on record, the oldest first, to standard output or to a file that only"
        " you can read. No cell of CSV is a formula; JSON lines hold the texts as they are on"
        " record. What is exported is noted in the audit log."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        requests.add_arguments(parser)
        parser.add_argument("--format", choices=[each.value for each in Format], default="csv")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
        parser.add_argument("--force", action="store_true", help="replace FILE if it is there")

    def handle(self, *, format: str, output: Path | None, force: bool, **options: Any) -> None:  # noqa: A002
        selection, form = requests.selection(options), Format(format)
        if output is not None:
            with private_file(output, force) as stream:
                rows = self._export(selection, form, stream.write)
        else:
            rows = self._export(selection, form, self._print)
        self.stderr.write(f"{rows} requests written to {output or 'standard output'}.")

    def _export(self, selection: Selection, form: Format, write: Callable[[str], object]) -> int:
        """Write the file part by part; return the number of its requests. Raises CommandError."""
        try:
            going = export.begin(audit.COMMAND_LINE, selection, form)
            with tqdm(disable=None, desc="requests", leave=False, file=sys.stderr) as bar:
                for part in going:
                    write(part)
                    bar.update(going.rows - bar.n)
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        except BrokenOffError as error:
            raise CommandError(f"{error} Export again when it is back.") from None
        except DatabaseProblem as error:
            raise CommandError(f"The database is away ({error}); nothing is exported.") from None
        return going.rows

    def _print(self, part: str) -> None:
        try:
            self.stdout.write(part, ending="")
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError("Nobody reads on: stopped.") from None
