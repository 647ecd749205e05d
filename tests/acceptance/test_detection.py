"""A flood is answered while it goes on: web server, record, Huey worker and rules together."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.acceptance.deployment import PATIENCE, ROOT, environment, manage, serve

ATTACKER, READER = "203.0.113.5", "203.0.113.6"
ANSWERED_WITHIN = 2.0  # seconds after the request that is one too many
FOR_A_BUSY_MACHINE = 3.0  # besides


@contextmanager
def worker(env: dict[str, str], log: Path) -> Iterator[None]:
    command = [sys.executable, "manage.py", "run_huey", "-m", "0.5", "-w", "2"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_a_flood_is_blocked_within_seconds_and_nobody_else(tmp_path: Path) -> None:
    # By the clock a minute's run could come at the same time; its answer counts as well.
    env = environment(tmp_path, TRUSTED_PROXIES="127.0.0.1")
    manage(env, "migrate", "--verbosity=0")
    with (
        serve(env, tmp_path / "web.log") as service,
        worker(env, tmp_path / "huey.log"),
        closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection,
    ):

        def status(address: str) -> int:
            connection.request("GET", "/articles/1", headers={"X-Forwarded-For": address})
            with connection.getresponse() as answer:
                answer.read()
            return answer.status

        assert {status(ATTACKER) for _ in range(600)} == {404}
        end = time.monotonic() + ANSWERED_WITHIN + FOR_A_BUSY_MACHINE
        while status(ATTACKER) != 403:
            assert time.monotonic() < end, (tmp_path / "huey.log").read_text()[-2000:]
            time.sleep(0.02)
        assert status(READER) == 404
