"""A real server, killed and starved of its database: what was acknowledged is on record, once.

`FAULT_ROUNDS=10 FAULT_LOCK_SECONDS=15 pytest tests/acceptance/test_durability.py` is the long form;
by default it is short enough to run with all other tests.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "2"))
LOCK_SECONDS = float(os.environ.get("FAULT_LOCK_SECONDS", "3"))
REQUESTS = 2000
CLIENTS = 8


@dataclass
class Server:
    """gunicorn with two workers over a SQLite database of its own."""

    state: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def workers(self) -> list[int]:
        pid = self.process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def request_ids(self) -> Counter[str]:
        with closing(sqlite3.connect(self.state / "db.sqlite3", timeout=30)) as database:
            rows = database.execute("SELECT request_id FROM tracking_requestlog")
            return Counter(request_id for (request_id,) in rows)


@dataclass
class Load:
    """Clients that ask until together they have asked for REQUESTS answers."""

    port: int
    acknowledged: set[str] = field(default_factory=set)
    slowest: float = 0.0
    asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        while self._next():
            before = time.monotonic()
            try:
                connection.request("GET", f"/nowhere/{self.asked}")
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            with self._lock:
                self.slowest = max(self.slowest, time.monotonic() - before)
                self.acknowledged.add(response.headers["X-Request-ID"])
        connection.close()

    def _next(self) -> bool:
        with self._lock:
            self.asked += 1
            return self.asked <= REQUESTS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(state: Path) -> Iterator[Server]:
    port = free_port()
    environment = os.environ | {
        "STATE_DIR": str(state),
        "PORT": str(port),
        "WEB_WORKERS": "2",
        "WEB_THREADS": "4",
        "DATABASE_URL": "",
        "BACKGROUND_THREAD": "true",
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True
    )
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "project.wsgi"]
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        await_answer(port)
        yield Server(state, port, process)
    finally:
        process.terminate()
        process.wait(20)


def await_answer(port: int) -> None:
    for _ in range(200):
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/livez")
                connection.getresponse()
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not come up")


def await_rows(server: Server, acknowledged: set[str], seconds: float = 30) -> Counter[str]:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not acknowledged <= server.request_ids().keys():
        time.sleep(0.1)
    time.sleep(0.5)  # a second row of one request would come with the next batches
    return server.request_ids()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("state")) as running:
        yield running


def test_a_row_can_be_read_within_a_second_of_its_answer(server: Server) -> None:
    for number in range(20):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
            connection.request("GET", f"/soon/{number}")
            request_id = connection.getresponse().headers["X-Request-ID"]
        answered = time.monotonic()
        while request_id not in server.request_ids():
            assert time.monotonic() - answered < 1
            time.sleep(0.02)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_of_a_worker_loses_and_doubles_nothing(server: Server, number: int) -> None:
    before = set(server.request_ids())
    load = Load(server.port)
    threads = load.run()
    while len(load.acknowledged) < REQUESTS // 2:
        time.sleep(0.01)
    os.kill(server.workers[number % 2], signal.SIGKILL)
    for thread in threads:
        thread.join()
    rows = await_rows(server, load.acknowledged)
    new = {request_id: count for request_id, count in rows.items() if request_id not in before}
    assert len(load.acknowledged) > REQUESTS * 0.9
    assert load.acknowledged - new.keys() == set(), "acknowledged but not on record"
    assert set(new.values()) == {1}, "recorded twice"
    assert len(new.keys() - load.acknowledged) <= CLIENTS, "only what was in flight may be more"


def test_a_locked_database_delays_no_request_and_loses_none(server: Server) -> None:
    load = Load(server.port)
    with closing(sqlite3.connect(server.state / "db.sqlite3", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        locked = time.monotonic()
        threads = load.run()
        for thread in threads:
            thread.join()
        assert time.monotonic() - locked < 60
        time.sleep(max(0.0, LOCK_SECONDS - (time.monotonic() - locked)))
        assert not load.acknowledged & server.request_ids().keys()
        database.execute("ROLLBACK")
    assert len(load.acknowledged) == REQUESTS
    assert load.slowest < 2, "no request waited for the lock"
    rows = await_rows(server, load.acknowledged)
    assert {rows[request_id] for request_id in load.acknowledged} == {1}


def test_stopping_and_starting_again_keeps_what_waited(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    with serving(tmp_path) as server, closing(database):
        database.execute("BEGIN IMMEDIATE")
        load = Load(server.port)
        for thread in load.run():
            thread.join()
        for worker in server.workers:
            os.kill(worker, signal.SIGKILL)
        server.process.kill()
        server.process.wait()
        database.execute("ROLLBACK")
    with serving(tmp_path) as server:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
            connection.request("GET", "/wakes/the/thread")
            connection.getresponse()
        rows = await_rows(server, load.acknowledged)
    assert {rows[request_id] for request_id in load.acknowledged} == {1}
