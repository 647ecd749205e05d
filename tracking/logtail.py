"""Read live logs as they are written, through rotation, until told to stop.

A log that was moved away is read on until nothing has come for QUIET_SECONDS; then the file that
has its name now is read. One that was emptied in its place (copytruncate) begins anew.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from django.db import DatabaseError, connection

from tracking.ingest import Ingest, LogError, Summary
from tracking.loglines import HEAD_BYTES
from tracking.recorder import Outrun

POLL_SECONDS = 0.5
QUIET_SECONDS = 2.0  # servers are told to open the new file right after the old one was moved
RETRY_SECONDS = 5.0


class Tail:
    """A live file whose end is told only when the log has ended, or when it is to stop."""

    def __init__(self, path: Path, stop: threading.Event, pause: Callable[[], None]) -> None:
        """`pause` is called each time there is nothing more to read for now."""
        self._path = path
        self._stop = stop
        self._pause = pause
        self._file = path.open("rb", buffering=0)
        self._head = b""
        self._quiet_since = time.monotonic()
        self._is_moved = False

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        while True:
            chunk = self._file.read(size)
            if self._is_another():
                return b""
            if chunk:
                self._head += chunk[: HEAD_BYTES - len(self._head)]
                self._quiet_since = time.monotonic()
                return chunk
            self._pause()
            if self._stop.is_set() or self._is_over():
                return b""
            self._stop.wait(POLL_SECONDS)

    def _is_another(self) -> bool:
        """Tell whether the file was emptied meanwhile, also when it has grown again since."""
        number = self._file.fileno()
        if os.fstat(number).st_size < self._file.tell():
            return True
        return os.pread(number, len(self._head), 0) != self._head

    def _is_over(self) -> bool:
        """Tell whether the file was moved away, and nothing has come since for long enough."""
        if not self._is_moved:
            self._is_moved = not self._has_its_name()
            self._quiet_since = time.monotonic()  # until it was moved, quiet meant nothing
        return self._is_moved and time.monotonic() - self._quiet_since >= QUIET_SECONDS

    def _has_its_name(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._file.fileno()))


class Follower:
    """Reads one log until `stop` is set; `summary` tells of all files that had its name."""

    def __init__(
        self,
        path: Path,
        begin: Callable[[], Ingest],
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self.summary = Summary()
        self.failure = ""
        self._path = path
        self._begin = begin
        self._stop = stop
        self._tell = tell
        self._again = False

    def run(self) -> None:
        """Read; a database that is away is waited for. `failure` says why the log was given up."""
        try:
            while True:
                self._read_one()
                if self._stop.is_set():
                    break
        except (LogError, OSError) as error:
            self.failure = str(error)
            self._tell(f"{self._path}: {error}; it is not read any further")
        finally:
            connection.close()

    def _read_one(self) -> None:
        ingest = self._begin()
        try:
            with Tail(self._path, self._stop, ingest.flush) as tail:
                ingest.run(tail, live=True)
            self._take(ingest.summary)
            self._again = False
        except FileNotFoundError:
            self._stop.wait(POLL_SECONDS)
        except (DatabaseError, Outrun) as error:
            self._take(ingest.summary)
            self._again = True
            reason = "another run reads it" if isinstance(error, Outrun) else str(error)
            self._tell(f"{self._path}: {reason}; trying again every {RETRY_SECONDS:.0f} seconds")
            connection.close()
            self._stop.wait(RETRY_SECONDS)
        except LogError:
            self._take(ingest.summary)
            raise

    def _take(self, summary: Summary) -> None:
        # What is read again after a failure is no news.
        self.summary.add(replace(summary, known=0) if self._again else summary)
