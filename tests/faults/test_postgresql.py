"""PostgreSQL is away, hung, full of clients, out of disk, or ends its connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.faults.conftest import Survive
from tests.faults.deployment import Deployment
from tests.faults.load import Fault
from tests.faults.servers import PostgreSQL

END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'service'"


def server_of(deployment: Deployment) -> PostgreSQL:
    assert deployment.postgresql is not None
    return deployment.postgresql


def end_connections(deployment: Deployment) -> None:
    server_of(deployment).execute(END_ALL)


@dataclass
class Crowd:
    """Clients that take every connection there is, those of the service too."""

    connections: ExitStack = field(default_factory=ExitStack)

    def come(self, deployment: Deployment) -> None:
        server = server_of(deployment)
        end = time.monotonic() + 10
        end_connections(deployment)
        refused = 0
        while refused < 10 and time.monotonic() < end:
            try:
                self.connections.enter_context(server.connect(deployment.database, "service"))
            except psycopg.OperationalError:
                refused += 1

    def leave(self, deployment: Deployment) -> None:
        self.connections.close()


def on_server(act: Callable[[PostgreSQL], object]) -> Callable[[Deployment], object]:
    return lambda deployment: act(server_of(deployment))


CROWD = Crowd()
FAULTS = {
    "kill -9 of PostgreSQL": Fault(on_server(PostgreSQL.kill), 5, on_server(PostgreSQL.start)),
    "SIGSTOP of PostgreSQL, 10 s": Fault(
        on_server(PostgreSQL.hang), 10, on_server(PostgreSQL.go_on)
    ),
    "connections of PostgreSQL exhausted": Fault(CROWD.come, 10, CROWD.leave),
    "all connections ended by PostgreSQL": Fault(end_connections),
}


@pytest.mark.parametrize("fault", FAULTS.keys())
def test_postgresql_in_trouble(large: Deployment, survive: Survive, fault: str) -> None:
    survive(fault, large, FAULTS[fault])
