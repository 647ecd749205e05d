"""Files that commands write for one reader."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from django.core.management.base import CommandError


@contextmanager
def private_file(path: Path, force: bool) -> Iterator[TextIO]:
    """A new file for its owner alone, which has its name from the beginning and its content once
    that is whole. Raises CommandError for one that is there already and may not be replaced.
    """
    replaced = force and path.is_file()
    try:
        if not replaced:
            path.touch(mode=0o600, exist_ok=False)
        descriptor, part = tempfile.mkstemp(prefix=".", dir=path.parent)
    except FileExistsError:
        way_out = ", or replace it with --force" if path.is_file() else ""
        raise CommandError(f"{path} is there already: name another{way_out}.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123
            yield stream
        Path(part).replace(path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if not replaced:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
        raise
