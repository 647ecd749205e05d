"""Append records durably, from the request thread, with one system call.

A process writes to a segment of its own, `<node>-<random>.<number>`, and holds a lock (flock) on
it; whoever gets that lock knows that the owner is gone. Each line is framed as

    newline, length and CRC-32 of the body (8 hexadecimal digits each), body (JSON), newline

so that a line cut short (disk full, power lost) spoils neither the one before nor the one after.
Lines that the disk does not take wait in memory, for a while that is bounded by their size.
`os.write` survives the death of the process, not of the machine: the operating system writes the
file out within some 30 seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import secrets
import tempfile
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tracking import conf
from tracking.engine.visit import Record

logger = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_NEW_FILE = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_HEADER = 18  # two fields of eight digits, a space behind each
HELD_BYTES = 8 * 1024 * 1024  # of lines that wait for the disk
LONGEST_SECONDS = 3600.0  # a segment is written to; then it ends, so that it can be deleted
_AT_ONCE = 64  # held lines that one request may have to write: less than a millisecond


class Journal:
    """The segments that one process writes, one after the other.

    `series` is the random part of their names. `dropped` counts records that could not be written
    (disk full, folder gone) and that there was no memory for any more.
    """

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.segment: Path | None = None
        self.written = 0
        self.dropped = 0
        self.series = secrets.token_hex(8)
        self._number = 0
        self._size = 0
        self._fd = -1
        self._until = 0.0  # on the monotonic clock
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._failing = False
        # A write to a descriptor that another thread has just closed would land in somebody
        # else's file; the lock costs a tenth of the write.
        self._lock = threading.Lock()

    def append(self, record: Record) -> bool:
        """Write one record; False when the disk does not take it now, and it waits in memory."""
        line = framed(record)
        with self._lock:
            if not self._held and self._write(line):
                return True
            self._hold(line)
            return self._write_held(_AT_ONCE)

    def write_held(self) -> None:
        """Write the records that wait, if the disk takes them now."""
        with self._lock:
            self._write_held(len(self._held))

    def take_dropped(self) -> int:
        """Return how many records were dropped since this was asked last."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped

    def leave_removed(self, stored: int) -> None:
        """Go on in a new segment when somebody has taken this one away.

        `stored` of the records written so far are in the database; the others are dropped.
        """
        with self._lock:
            if self.segment is not None and not _is_file(self._fd, self.segment):
                self.dropped += self.written - stored
                logger.error("%s was removed while it was being written", self.segment)
                self._close()

    def leave_old(self) -> None:
        """Go on in a new segment at the next record when this one is old.

        What is on record for good has no business in a file, too, however rare requests are.
        """
        with self._lock:
            if time.monotonic() >= self._until:
                self._close()

    def close(self) -> None:
        """Let go of the segment, so that anyone may finish it; what the disk refuses is lost."""
        with self._lock:
            if not self._write_held(len(self._held)):
                logger.error("%d requests are not on record: the disk is full", len(self._held))
            self._close()

    def _write(self, line: bytes) -> bool:
        try:
            is_over = self._size >= self.segment_bytes or time.monotonic() >= self._until
            if self._fd < 0 or is_over:
                self._open_next()
            written = os.write(self._fd, line)
        except OSError as error:
            self._complain(error)
            if error.errno == errno.EFBIG and self._size:
                self._size = self.segment_bytes  # there may be room in another file
            return False
        self._size += written
        if written < len(line):
            self._complain(f"of {len(line)} bytes it took {written}")
            return False
        self._failing = False
        self.written += 1
        return True

    def _hold(self, line: bytes) -> None:
        self._held.append(line)
        self._held_bytes += len(line)
        while self._held_bytes > HELD_BYTES:
            self._held_bytes -= len(self._held.popleft())
            self.dropped += 1

    def _write_held(self, most: int) -> bool:
        """Write so many of the lines that wait; True when none is left."""
        for _ in range(min(most, len(self._held))):
            if not self._write(self._held[0]):
                break
            self._held_bytes -= len(self._held.popleft())
        return not self._held

    def _open_next(self) -> None:
        directory = folder(self.directory)
        path = directory / f"{node_id(directory)}-{self.series}.{self._number}"
        # It gets its name once it is locked: till then it would pass for a dead owner's, finished.
        nameless = directory / f"{self.series}.opening"
        fd = os.open(nameless, _NEW_FILE, 0o600)
        try:
            lock(fd)
            nameless.rename(path)
        except OSError:
            os.close(fd)
            nameless.unlink(missing_ok=True)  # or no later attempt could make it
            raise
        self._close()
        self._number += 1
        self._fd, self._size, self.segment = fd, 0, path
        self._until = time.monotonic() + LONGEST_SECONDS

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.segment = -1, None

    def _complain(self, reason: object) -> None:
        if not self._failing:
            logger.error("The request log cannot be written to %s: %s", self.directory, reason)
        self._failing = True


def mine() -> Journal:
    """Return the journal of this process, opened at its first record."""
    global _mine
    if _mine is None:
        with _opening:
            if _mine is None:
                configuration = conf.current()
                _mine = Journal(configuration.journal_dir, configuration.journal_segment_bytes)
    return _mine


def opened() -> Journal | None:
    """Return the journal of this process if it has written one."""
    return _mine


def close() -> None:
    """Close this process's journal; a later record opens a new one."""
    global _mine
    if _mine is not None:
        _mine.close()
    _mine = None


def folder(directory: Path) -> Path:
    """Return `directory` as a folder that only its owner can read, in one like it."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def node_id(directory: Path) -> str:
    """Return the name of this node, made once: many nodes may share one database."""
    path = directory / "node"
    if not path.exists():
        # Written whole, then linked: of two processes one names the node, and none reads half.
        with tempfile.NamedTemporaryFile("w", dir=directory) as file:
            file.write(uuid.uuid4().hex)
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text("ascii").strip()


def lock(fd: int) -> bool:
    """Take the lock of a segment without waiting; False when somebody holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def segments(directory: Path, series: str = "*") -> list[Path]:
    """Return the segments in a folder (or of one series), the longest untouched first."""
    found = []
    for path in directory.glob(f"*-{series}.*"):
        with contextlib.suppress(FileNotFoundError):  # another process may have finished it
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def framed(record: Record) -> bytes:
    """Return a record as the bytes of one line."""
    body = _encode(record).encode("ascii")
    return b"\n%08x %08x %b\n" % (len(body), zlib.crc32(body), body)


def read(chunk: bytes) -> Iterator[Record | None]:
    """Yield the records in whole lines, None for each damaged one."""
    for line in chunk.split(b"\n"):
        if line:
            yield _unframed(line)


def count_lines(path: Path, offset: int) -> int:
    """Return how many lines of a segment stand behind `offset`."""
    with path.open("rb") as file:
        file.seek(offset)
        return sum(1 for line in file if line != b"\n")


def _is_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _unframed(line: bytes) -> Record | None:
    body = line[_HEADER:]
    if line[:_HEADER] != b"%08x %08x " % (len(body), zlib.crc32(body)):
        return None
    try:
        return Record(*json.loads(body))
    except (ValueError, TypeError):
        return None


def _after_fork() -> None:
    """Leave the parent its segment: the child shares the descriptor, not the right to write."""
    global _mine, _opening
    inherited, _mine = _mine, None
    _opening = threading.Lock()
    if inherited is not None and inherited._fd >= 0:  # noqa: SLF001
        os.close(inherited._fd)  # noqa: SLF001


_mine: Journal | None = None
_opening = threading.Lock()
os.register_at_fork(after_in_child=_after_fork)
