"""Write what is known of an address or a user, for whom it is about."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from tracking import audit, privacy
from tracking.management.files import private_file
from tracking.management.subjects import add_arguments, subject


class Command(BaseCommand):
    help = (
        "Write all that is on record about an address, a network or a user as JSON, to standard"
        " output or to a file that only you can read. Several people may have had one address: look"
        " at it before you hand it out. That it was exported is noted in the audit log."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
        parser.add_argument("--force", action="store_true", help="replace FILE if it is there")

    def handle(self, *, output: Path | None, force: bool, **options: Any) -> None:
        whose = subject(options)
        try:
            parts = privacy.document(privacy.export(audit.COMMAND_LINE, whose), whose)
            if output is None:
                for part in parts:
                    self.stdout.write(part, ending="")
            else:
                with private_file(output, force) as file:
                    file.writelines(parts)
                self.stderr.write(f"Written to {output}.")
        except DatabaseError as error:
            raise CommandError(f"The database is away ({error}): nothing is whole.") from None
