"""Take the one file that counts out of a tar archive, whatever else the archive holds."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import IO

from tracking.download import RefusedError
from tracking.readers import MIB

MOST_MEMBERS = 100
LARGEST_READ = 4 * MIB  # of headers, which tarfile takes into memory as large as they claim to be
MAGIC, MAGIC_AT = b"ustar", 257


def is_tar(path: Path) -> bool:
    """Tell whether a file begins like a tar archive."""
    with path.open("rb") as file:
        file.seek(MAGIC_AT)
        return file.read(len(MAGIC)) == MAGIC


def take_member(archive: Path, suffix: str, limit: int) -> None:
    """Put the one regular file in an archive that ends with `suffix` in the place of the archive.

    No path in the archive is used. Raises RefusedError when there is none or several, when it has
    more than `limit` bytes, and for a damaged archive.
    """
    taken = archive.with_name(f"{archive.name}.taken")
    try:
        with archive.open("rb") as file:
            _copy_member(file, taken, suffix, limit)
        taken.replace(archive)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
        raise RefusedError(f"the tar archive is damaged ({error})") from None
    finally:
        taken.unlink(missing_ok=True)


def _copy_member(file: IO[bytes], taken: Path, suffix: str, limit: int) -> None:
    with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:  # type: ignore[call-overload]
        found: list[tarfile.TarInfo] = []
        for number, member in enumerate(tar):
            if number >= MOST_MEMBERS:
                raise RefusedError(f"the archive has more than {MOST_MEMBERS} members")
            if member.isreg() and not member.issparse() and member.name.endswith(suffix):
                found.append(member)
        if len(found) != 1:
            raise RefusedError(f"the archive has {len(found)} files {suffix}, not one")
        if found[0].size > limit:
            raise RefusedError(f"unpacked it has more than {limit} bytes; stopped there")
        inside = tar.extractfile(found[0])
        if inside is None:
            raise RefusedError(f"the archive has no file {suffix}")
        taken.unlink(missing_ok=True)
        with taken.open("xb") as target:
            shutil.copyfileobj(inside, target, MIB)
            target.flush()
            os.fsync(target.fileno())


class _Bounded:
    """A file of which only so much is read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_READ:
            raise RefusedError("the tar archive has a header that is too large")
        return self._file.read(size)
