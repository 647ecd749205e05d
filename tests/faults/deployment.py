"""The service as it is deployed: `manage.py serve`, its supervisor, web server and worker."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.acceptance.deployment import ROOT, free_port
from tests.faults.client import BLOCKED, someone
from tests.faults.servers import PostgreSQL
from tests.mmdb import CITY, NETWORK, write
from tests.redis_server import Server as Redis

PATIENCE = 60.0  # seconds; longer than anything here may take
PASSWORD = "correct horse battery staple"
IDS = "SELECT request_id FROM tracking_requestlog WHERE id > {}"
NEWEST = "SELECT coalesce(max(id), 0) FROM tracking_requestlog"
LIMIT = 5  # requests in a minute to /graphql/, of one address
WEB, WORKER = "gunicorn", "run_huey"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    request_id: str


@dataclass
class Deployment:
    """One running service with its stores, of which SQLite is a file in its folder."""

    state: Path
    workers: int = 2
    postgresql: PostgreSQL | None = None
    database: str = ""
    redis: Redis | None = None
    file: Path | None = None  # of SQLite; by default in the folder
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    asked: set[str] = field(default_factory=set)  # the request ids of what was asked here

    @property
    def env(self) -> dict[str, str]:
        stores = {}
        if self.postgresql is not None:
            stores["DATABASE_URL"] = self.postgresql.url(self.database)
            # One of both queues of production is met with 2 workers, the other one with 4.
            stores["HUEY_URL"] = stores["DATABASE_URL"]
        if self.redis is not None:
            stores["REDIS_URL"] = self.redis.url
            if self.workers == 2:
                stores["HUEY_URL"] = self.redis.url.removesuffix("0") + "1"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.state),
            "ENV_FILE": os.devnull,
            "STATE_DIR": str(self.state),
            "PORT": str(self.port),
            "WEB_WORKERS": str(self.workers),
            "SECRET_KEY": "only-for-tests-" + "0123456789" * 5,
            "JWT_SIGNING_KEYS": "tests:" + "0123456789abcdef" * 4,
            "TRUSTED_PROXIES": "127.0.0.1",
            "LIMIT_GRAPHQL_STAFF": "off",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            **stores,
            **self.settings,
        }

    @property
    def store(self) -> str:
        return "PostgreSQL" if self.postgresql else "SQLite"

    @property
    def sqlite(self) -> Path:
        return self.file or self.state / "db.sqlite3"

    @property
    def log(self) -> Path:
        return self.state / "log"

    def start(self) -> None:
        """Set up and serve; return once all is ready and the load's address is blocked."""
        write(self.state / "geoip" / "places.mmdb", "GeoLite2-City", {NETWORK: CITY})
        self.command("setup")
        self.command("block", BLOCKED)
        self.serve()
        assert self.log_in()

    def log_in(self) -> bool:
        """Get a new token for the questions that need a database; False when that fails."""
        body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
        answer = self.ask("POST", "/api/login", body, {"Content-Type": "application/json"}, 30)
        if answer.status != 200:
            return False
        self.token = json.loads(answer.body)["accessToken"]
        return True

    def serve(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.ask("GET", "/readyz").status == 200, "the start")

    def stop(self) -> None:
        """End all its processes at once, orphans too: what is tested here needs no farewell."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("STATE_DIR") == str(self.state):
                    process.kill()
        if self.process is not None:
            self.process.wait()

    def command(self, *arguments: str) -> None:
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr

    def program(self, name: str) -> psutil.Process:
        """Return the process that the supervisor runs for WEB or WORKER."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        (found,) = [child for child in children if name in child.cmdline()]
        return found

    def web_workers(self) -> list[psutil.Process]:
        return self.program(WEB).children()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        patience: float = 2.0,
    ) -> Answer:
        """Return one answer, of status 0 when there is none within so many seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            with closing(connection) as asked:
                asked.request(method, path, body, headers or {})
                response = asked.getresponse()
                request_id = response.headers.get("X-Request-ID", "")
                self.asked.add(request_id)
                return Answer(response.status, response.read(), request_id)
        except (OSError, http.client.HTTPException):
            return Answer(0, b"", "")

    def rows(self, after: int = 0) -> Counter[str]:
        """Return how many rows each request id has, of rows behind a number."""
        return Counter(request_id for (request_id,) in self.query(IDS.format(after)))

    def newest_row(self) -> int:
        ((number,),) = self.query(NEWEST)
        return int(str(number))

    def beats(self) -> object:
        """Return when the worker gave its last sign of life."""
        return self.query("SELECT updated_at FROM tracking_counter WHERE name = 'huey.heartbeat'")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        if self.postgresql is not None:
            with self.postgresql.connect(self.database) as connection:
                return connection.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(self.sqlite, timeout=30)) as database:
            return database.execute(statement).fetchall()

    def counts_together(self) -> bool:
        """Tell whether one limit holds for all web workers: Redis counts, or there is none."""
        if self.redis is None:
            return True
        headers = {"Content-Type": "application/json", "X-Forwarded-For": someone()}
        asked = [
            self.ask("POST", "/graphql/", b'{"query":"{__typename}"}', headers).status
            for _ in range(2 * self.workers * LIMIT)
        ]
        return asked.count(200) == LIMIT

    def works(self) -> bool:
        """Tell whether all that the load asks for is answered, and put on record."""
        try:
            before = self.newest_row()
            page = self.ask("GET", "/nowhere")
            database = self.ask(
                "POST",
                "/graphql/",
                b'{"query":"{me{username}}"}',
                {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            )
            if page.status != 404 or b"admin" not in database.body or not self.counts_together():
                return False
            end = time.monotonic() + 1
            while time.monotonic() < end:
                if {page.request_id, database.request_id} <= self.rows(before).keys():
                    return True
                time.sleep(0.02)
        except (psycopg.Error, sqlite3.Error):
            pass
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
    """Return how long it took, in seconds; fail the test when it takes too long."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            pytest.fail(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - begun
