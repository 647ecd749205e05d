"""The service's own processes are killed."""

from __future__ import annotations

import os
import signal

from tests.faults.conftest import Survive
from tests.faults.deployment import WEB, Deployment
from tests.faults.load import Fault


def kill_a_web_worker(deployment: Deployment) -> None:
    os.kill(deployment.web_workers()[0].pid, signal.SIGKILL)


def kill_the_web_server(deployment: Deployment) -> None:
    os.kill(deployment.program(WEB).pid, signal.SIGKILL)


def test_kill_9_of_a_web_worker(large: Deployment, survive: Survive) -> None:
    survive("kill -9 of a web worker", large, Fault(kill_a_web_worker))


def test_kill_9_of_the_web_server(large: Deployment, survive: Survive) -> None:
    survive("kill -9 of gunicorn", large, Fault(kill_the_web_server))
