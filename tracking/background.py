"""The background threads of a process: one empties the journal, the other watches the rules.

They start with the first request of a process (so never in a server's parent before it forks) and
end with it, the journal's after a last round. They are two because a block must be in force within
a second, however long the database keeps a writer waiting.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time

from django.db import close_old_connections, connection

from tracking import conf, drainer, journal, policy, resets

logger = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 5.0
LAST_ROUND_SECONDS = 3.0


class Background(threading.Thread):
    """Drains this process's own records at every round, those of dead processes at leisure."""

    def __init__(self) -> None:
        super().__init__(name="tracking", daemon=True)
        self.stopping = threading.Event()
        self._seen = 0
        self._next_housekeeping = 0.0
        self._failing = False

    def run(self) -> None:
        while not self.stopping.wait(conf.current().drain_interval):
            self._round()
        self._round()
        connection.close()

    def _round(self) -> None:
        try:
            close_old_connections()
            self._drain_own()
            resets.refresh()
            if time.monotonic() >= self._next_housekeeping:
                self._keep_house()
            self._failing = False
        except Exception as error:  # noqa: BLE001 - tried again next round
            self._complain(error)

    def _drain_own(self) -> None:
        own = journal.opened()
        if own is None:
            return
        own.write_held()
        if own.written != self._seen:
            written = own.written
            own.leave_removed(self._seen)
            drainer.drain_own()
            self._seen = written

    def _keep_house(self) -> None:
        drainer.bound()
        if not drainer.adopt():  # as long as orphans have more, every round takes a part
            drainer.clear()
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS

    def _complain(self, error: Exception) -> None:
        if not self._failing:
            logger.error("The journal waits, since it cannot be emptied: %s", error)
        self._failing = True
        # Nothing may end the thread. And the folder fills exactly while the database is away, so
        # its bound is kept here too.
        with contextlib.suppress(Exception):
            connection.close()
        with contextlib.suppress(Exception):
            drainer.bound()


class Watch(threading.Thread):
    """Learns of changes to the rules."""

    def __init__(self) -> None:
        super().__init__(name="tracking-watch", daemon=True)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(conf.current().drain_interval):
            with contextlib.suppress(Exception):  # nothing may end the thread
                close_old_connections()
            policy.look()
        connection.close()


def ensure() -> None:
    """Start the threads of this process, once, after a look at the rules.

    This process, or the one it was forked from, may have been made ready long ago: by the rules it
    knew then its first request is not to be decided.
    """
    global _threads
    if not _threads and conf.current().background_thread:
        with _starting:
            if not _threads:
                policy.load()
                threads = (Background(), Watch())
                for thread in threads:
                    thread.start()
                _threads = threads


def is_running() -> bool:
    """Tell whether the threads of this process have started."""
    return bool(_threads)


def stop() -> None:
    """Let the threads finish, for a bounded time, and let go of the journal."""
    global _threads
    threads, _threads = _threads, ()
    for thread in threads:
        thread.stopping.set()
    for thread in threads:
        thread.join(LAST_ROUND_SECONDS)
    journal.close()


def _after_fork() -> None:
    global _threads, _starting
    _threads = ()
    _starting = threading.Lock()


_threads: tuple[Background | Watch, ...] = ()
_starting = threading.Lock()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(stop)
