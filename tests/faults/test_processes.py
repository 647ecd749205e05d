"""The service's own processes are killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.conftest import Survive
from tests.faults.deployment import WEB, WORKER, Deployment
from tests.faults.load import Fault


def kill_a_web_worker(deployment: Deployment) -> None:
    os.kill(deployment.web_workers()[0].pid, signal.SIGKILL)


def kill_the_web_server(deployment: Deployment) -> None:
    os.kill(deployment.program(WEB).pid, signal.SIGKILL)


def kill_all_of_the_web(deployment: Deployment) -> None:
    for process in [deployment.program(WEB), *deployment.web_workers()]:
        process.kill()


FAULTS = {
    "kill -9 of a web worker": Fault(kill_a_web_worker),
    "kill -9 of gunicorn": Fault(kill_the_web_server),
    "kill -9 of gunicorn and its workers": Fault(kill_all_of_the_web),
}


class WorkerKilled:
    """kill -9 of the Huey worker, which is over once a new one gives a sign of life."""

    before: object

    def make(self, deployment: Deployment) -> None:
        self.before = deployment.beats()
        os.kill(deployment.program(WORKER).pid, signal.SIGKILL)

    def is_over(self, deployment: Deployment) -> bool:
        return deployment.beats() != self.before and deployment.works()


@pytest.mark.parametrize("fault", FAULTS.keys())
def test_the_web_is_killed(large: Deployment, survive: Survive, fault: str) -> None:
    survive(fault, large, FAULTS[fault])


@pytest.mark.parametrize("fault", FAULTS.keys())
def test_the_web_is_killed_on_sqlite(small: Deployment, survive: Survive, fault: str) -> None:
    survive(fault, small, FAULTS[fault])


def test_the_worker_is_killed(large: Deployment, survive: Survive) -> None:
    killed = WorkerKilled()
    survive("kill -9 of the worker", large, Fault(killed.make, is_over=killed.is_over))


def test_the_worker_is_killed_on_sqlite(small: Deployment, survive: Survive) -> None:
    killed = WorkerKilled()
    survive("kill -9 of the worker", small, Fault(killed.make, is_over=killed.is_over))
