"""The clock of the node is set: an hour back, a day forward, and right again.

Web server and worker run under libfaketime, which reads what time it is from a file; the database
server keeps the right time, as on a machine of its own. Clocks that nobody can set (monotonic ones)
go on undisturbed, as on a real machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Survive, running
from tests.faults.deployment import Deployment
from tests.faults.load import Fault
from tests.faults.servers import OWNER, PostgreSQL
from tests.redis_server import Server as Redis

LIBRARY = "faketime/libfaketimeMT.so.1"
# Version 0.9.10 of the library mistakes the deadline that Python's own sleep gives to the kernel.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
DAYS_ON_RECORD = {
    "SQLite": "SELECT julianday(max(at)) - julianday(min(at)) FROM tracking_requestlog",
    "PostgreSQL": "SELECT extract(epoch FROM max(at) - min(at)) / 86400 FROM tracking_requestlog",
}
CHANGES = {"a clock an hour back": "-1h", "then a day forward": "+23h", "then right again": "+0"}


def library() -> str:
    found = next(Path("/usr/lib").glob(f"**/{LIBRARY}"), None)
    if found is None:
        pytest.skip("there is no libfaketime here (Debian's package faketime)")
    return str(found)


def clock_of(deployment: Deployment) -> Path:
    return deployment.state / "clock"


def faked(folder: Path) -> dict[str, str]:
    """Return what lets processes believe the clock in a folder."""
    clock = folder / "clock"
    clock.write_text("+0\n")
    python = folder / "python"
    python.mkdir()
    (python / "sitecustomize.py").write_text(SLEEP)
    return {
        "PYTHONPATH": str(python),
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def set_to(offset: str) -> Callable[[Deployment], object]:
    return lambda deployment: clock_of(deployment).write_text(f"{offset}\n")


def works_in_its_time(deployment: Deployment) -> bool:
    """Tell whether somebody who logs in now is served: older tokens are of another time."""
    return deployment.log_in() and deployment.works()


def survive_changes(deployment: Deployment, survive: Survive) -> None:
    with running(deployment):
        for name, offset in CHANGES.items():
            survive(name, deployment, Fault(set_to(offset), 3, is_over=works_in_its_time))
        ((days,),) = deployment.query(DAYS_ON_RECORD[deployment.store])
        assert 0.9 < float(str(days)) < 1.1, "the clock was not what it should have been"


def test_the_clock_is_set_on_sqlite(tmp_path: Path, survive: Survive) -> None:
    survive_changes(Deployment(tmp_path, settings=faked(tmp_path)), survive)


def test_the_clock_is_set_beside_postgresql_and_redis(
    tmp_path: Path, postgresql: PostgreSQL, redis: Redis, survive: Survive
) -> None:
    postgresql.execute(f"CREATE DATABASE clock OWNER {OWNER}")
    settings = faked(tmp_path)
    survive_changes(Deployment(tmp_path, 2, postgresql, "clock", redis, settings=settings), survive)
