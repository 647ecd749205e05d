"""SQLite is locked by somebody else."""

from __future__ import annotations

import sqlite3

from tests.faults.conftest import Survive
from tests.faults.deployment import Deployment
from tests.faults.load import Fault


class Lock:
    """A writer that does not come to an end."""

    writer: sqlite3.Connection

    def take(self, deployment: Deployment) -> None:
        self.writer = sqlite3.connect(deployment.sqlite, isolation_level=None, timeout=30)
        self.writer.execute("BEGIN IMMEDIATE")

    def leave(self, deployment: Deployment) -> None:
        self.writer.execute("ROLLBACK")
        self.writer.close()


def test_a_locked_database(small: Deployment, survive: Survive) -> None:
    lock = Lock()
    survive("SQLite locked, 15 s", small, Fault(lock.take, 15, lock.leave))
