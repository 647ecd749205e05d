"""Deployments that the faults are made in, and the table of what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import redis_server
from tests.faults import servers
from tests.faults.deployment import Deployment
from tests.faults.load import LONGEST_RECOVERY, Fault, Outcome, Trial
from tests.faults.servers import OWNER, PostgreSQL
from tests.postgresql import CannotStartError

HEADER = """
| fault | store, web workers | acknowledged | lost | twice | wrong answers after 1 s \
| longest silence, s | longest answer, s | p99, ms | failed for want of the database | recovery, s \
| slowness |
|---|---|---|---|---|---|---|---|---|---|---|---|"""
_table: list[str] = []

Survive = Callable[..., Outcome]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _table:
        terminalreporter.write_line("\n".join([HEADER, *_table]))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    try:
        with servers.postgresql() as server:
            yield server
    except CannotStartError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis() -> Iterator[redis_server.Server]:
    with redis_server.running() as server:
        yield server


@contextmanager
def running(deployment: Deployment) -> Iterator[Deployment]:
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture(scope="session", params=["2 workers", "4 workers"])
def large(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgresql: PostgreSQL,
    redis: redis_server.Server,
) -> Iterator[Deployment]:
    """PostgreSQL and Redis, with two web workers and with four."""
    workers = int(request.param[0])
    database = f"service{workers}"
    postgresql.execute(f"CREATE DATABASE {database} OWNER {OWNER}")
    state = tmp_path_factory.mktemp("large")
    with running(Deployment(state, workers, postgresql, database, redis)) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """SQLite, two web workers and no Redis."""
    with running(Deployment(tmp_path_factory.mktemp("small"))) as deployment:
        yield deployment


@pytest.fixture
def survive() -> Survive:
    """Make a fault under load, put what it did into the table, and hold it to the promises."""

    def survived(name: str, deployment: Deployment, fault: Fault, **load: Any) -> Outcome:
        outcome = Trial(deployment).run(fault, **load)
        where = f"{deployment.store}, {deployment.workers}"
        _table.append(f"| {name} | {where} | {outcome.row()} |")
        assert outcome.acknowledged > 200, "there was hardly any load"
        assert not outcome.lost, f"{len(outcome.lost)} acknowledged, and not on record"
        assert not outcome.doubled, "recorded twice"
        assert not outcome.late, outcome.late[:3]
        assert outcome.let_in == 0, "the blocked address was let in"
        assert outcome.recovery <= LONGEST_RECOVERY * outcome.slowness
        return outcome

    return survived
