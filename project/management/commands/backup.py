"""`manage.py backup`: a copy of the SQLite database, while the service runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

POSTGRESQL = "PostgreSQL is backed up by its own pg_dump, of which docs/backup.md has the commands."


class Command(BaseCommand):
    help = "Write the SQLite database to a new file, whole and consistent, while the service runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the file to make, for its owner alone")

    def handle(self, *args: object, file: Path, **options: Any) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(POSTGRESQL)
        if file.exists() or not file.name:  # not only after a long copy
            raise CommandError(f"{file} exists already: name a file that does not.")
        unfinished = file.with_name(f".{file.name}.unfinished")
        try:
            unfinished.unlink(missing_ok=True)
            copy_to(unfinished)
            os.link(unfinished, file)  # unlike a rename it takes no other backup's place
            flush(file.parent)
        except FileExistsError:
            raise CommandError(f"{file} exists already: name a file that does not.") from None
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be copied: {error}.") from None
        finally:
            unfinished.unlink(missing_ok=True)
        self.stdout.write(f"{file.stat().st_size} bytes in {file}. The keys are not in it.")


def copy_to(file: Path) -> None:
    """Write what the database holds at this moment, and wait until the disk has it.

    Nobody waits for that, readers or writers. Raises DatabaseError and OSError.
    """
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(file)])
    flush(file)


def flush(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
