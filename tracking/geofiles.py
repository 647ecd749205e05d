"""Files of places as they lie on the disk: which there are, and a copy of one to read in peace."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tracking.conf import current
from tracking.readers import MIB

Signature: TypeAlias = tuple[int, ...]  # of a file as it was at one moment


class GeoFileError(Exception):
    """The file cannot be used as a database of places; the message says why."""


class BeingWrittenError(GeoFileError):
    """The file changed while it was read; a later look will tell."""


def files_at(root: Path) -> Iterator[tuple[Path, Signature]]:
    """Yield the files of a folder, or the one file that is there. Raises OSError."""
    folder = root.is_dir()
    for path in sorted(root.glob("*.mmdb")) if folder else [root]:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and not (folder and path.name.startswith(".")):
            yield path, _signature(found)


@contextmanager
def private_copy(path: Path) -> Iterator[tuple[str, Signature]]:
    """Yield the path of an unlinked copy, and of what it is one. Raises OSError, GeoFileError."""
    state_dir = current().state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("rb") as original, tempfile.TemporaryFile(dir=state_dir) as copy:
        signature = _signature(os.fstat(original.fileno()))
        shutil.copyfileobj(original, copy, MIB)
        copy.flush()
        if _signature(os.fstat(original.fileno())) != signature:
            raise BeingWrittenError("it is being written")
        yield f"/dev/fd/{copy.fileno()}", signature


def _signature(found: os.stat_result) -> Signature:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
