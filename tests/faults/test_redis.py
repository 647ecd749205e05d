"""Redis, which counts limits and holds the queue of the worker, is in trouble."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Survive
from tests.faults.deployment import LIMIT, Deployment
from tests.faults.load import Fault
from tests.redis_server import Server


def redis_of(deployment: Deployment) -> Server:
    assert deployment.redis is not None
    return deployment.redis


def run_out_of_memory(deployment: Deployment) -> None:
    client = redis_of(deployment).client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")


FAULTS = {
    "kill -9 of Redis": Fault(
        lambda deployment: redis_of(deployment).kill(),
        5,
        lambda deployment: redis_of(deployment).start(),
    ),
    "Redis out of memory": Fault(
        run_out_of_memory,
        5,
        lambda deployment: redis_of(deployment).client.config_set("maxmemory", 0),
    ),
    "Redis flushed": Fault(lambda deployment: redis_of(deployment).client.flushall()),
    "Redis read-only": Fault(
        lambda deployment: redis_of(deployment).client.replicaof("127.0.0.1", "1"),
        5,
        lambda deployment: redis_of(deployment).client.replicaof("NO", "ONE"),
    ),
    "SIGSTOP of Redis, 30 s": Fault(
        lambda deployment: redis_of(deployment).hang(),
        30,
        lambda deployment: redis_of(deployment).go_on(),
    ),
}


@pytest.mark.parametrize("fault", FAULTS.keys())
def test_redis_in_trouble(large: Deployment, survive: Survive, fault: str) -> None:
    outcome = survive(fault, large, FAULTS[fault])
    # A key may begin at zero at each change: in the memory of each process, and in Redis after it.
    # The test may also meet two windows.
    assert outcome.within_limit <= 2 * LIMIT * (large.workers + 2)
