"""What 1, 2 and 4 web workers answer, with protection and without, under load from outside.

gunicorn serves a small project (benchmarks.served) in the way that deploy/gunicorn.conf.py does: as
it is; with `tracking` in it, 100,000 rules, a limit and the record in SQLite; and the same with the
record in PostgreSQL and limits in Redis. They take turns in every round. The CPU time is that of
all processes of gunicorn, for a request that is answered and, where there is a record, stored: its
rows are waited for and must be as many as were answered. The client (benchmarks.client) and the
database work on the same machine and take their part of its cores: read rates of one table only.

    python -m benchmarks.scaling [--rounds 3] [--seconds 4] [--workers 1,2,4] [--rules 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect as connect_sqlite

import psutil

from benchmarks.tables import goal, show
from tests import redis_server
from tests.faults.servers import OWNER, PostgreSQL, postgresql
from tests.postgresql import CannotStartError

ROOT = Path(__file__).parents[1]
CONNECTIONS = 16
COUNT = "SELECT count(*) FROM tracking_requestlog"
LONGEST_WAIT = 60.0  # seconds, for a start and for the last rows
STILL = 0.6  # seconds without a new row, of which the journal is emptied four times a second
GOAL = 1.5  # of what protection adds with one worker, with the most
BARE, OURS, PRODUCTION = "bare Django", "protected, SQLite", "protected, PostgreSQL and Redis"
COLUMNS = (
    *("workers", "served", "requests/s: median", "most", "CPU us per request: min", "median"),
    *("p50 ms: median", "p99 ms: median", "the client's CPU us"),
)


@dataclass(frozen=True)
class Stack:
    """One way to serve the project: its environment, and what counts the rows of its record."""

    environment: dict[str, str]
    rows: Callable[[], int]

    def settled(self, wanted: int = 0) -> int:
        """Return the rows of the record once there are no new ones and as many as wanted."""
        end, before = time.monotonic() + LONGEST_WAIT, -1
        while (rows := self.rows()) != before or rows < wanted:
            if time.monotonic() > end:
                raise SystemExit(f"error: {wanted - rows} rows are missing in the record")
            before = rows
            time.sleep(STILL)
        return rows

    @contextmanager
    def served(self, workers: int) -> Iterator[tuple[psutil.Process, int]]:
        """Serve it; return gunicorn's process and its port."""
        port = redis_server.free_port()
        options = ("--worker-class=gthread", f"--workers={workers}", "--threads=8")
        running = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", *options, "--keep-alive=15"),
                *("--no-control-socket", "--log-level=error", f"--bind=127.0.0.1:{port}"),
                "benchmarks.served:application",
            ],
            cwd=ROOT,
            env=os.environ | self.environment,
        )
        try:
            wait_until_answered(port)
            yield psutil.Process(running.pid), port
        finally:
            running.terminate()
            running.wait()


def wait_until_answered(port: int) -> None:
    end = time.monotonic() + LONGEST_WAIT
    request = urllib.request.Request(f"http://127.0.0.1:{port}/articles/1/")
    request.add_header("Host", "localhost")
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"error: gunicorn does not answer: {error}") from None
        time.sleep(0.05)


def ask(port: int, seconds: float) -> dict[str, float]:
    """Return what the client saw; see benchmarks.client. A wrong answer ends all."""
    command = [sys.executable, "-m", "benchmarks.client", *map(str, (port, CONNECTIONS, seconds))]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    if found["others"]:
        raise SystemExit(f"error: {found['others']} answers with another status than 200")
    return found


def spent(server: psutil.Process) -> float:
    """Return the seconds of CPU that a server and its workers have taken."""
    times = [each.cpu_times() for each in (server, *server.children())]
    return sum(one.user + one.system for one in times)


def measure(stack: Stack, workers: int, seconds: float) -> dict[str, float]:
    """Return the figures of one run, after a second in which it gets warm."""
    recorded = "SERVED_PROTECTED" in stack.environment
    with stack.served(workers) as (server, port):
        ask(port, min(1.0, seconds))
        rows, before = stack.settled(), spent(server)
        found = ask(port, seconds)
        wanted = rows + int(found["answered"]) if recorded else 0
        stored = stack.settled(wanted)
        cpu = (spent(server) - before) / found["answered"] * 1e6
    if stored != wanted:
        raise SystemExit(f"error: {stored - wanted} rows more than requests were answered")
    return found | {"rate": found["answered"] / found["seconds"], "cpu": cpu}


def count_sqlite(file: Path) -> int:
    with closing(connect_sqlite(file, timeout=30)) as database:
        return int(database.execute(COUNT).fetchone()[0])


def count_postgresql(server: PostgreSQL) -> int:
    with server.connect("scaling") as database:
        return int(database.execute(COUNT).fetchall()[0][0])


def stacks(folder: Path, started: ExitStack, rules: int) -> dict[str, Stack]:
    """Return what is served; without PostgreSQL or Redis there is one less."""
    for name in ("bare", "sqlite", "production"):
        (folder / name).mkdir()
    bare = {"SERVED_DIR": str(folder / "bare"), "DATABASE_URL": "", "REDIS_URL": ""}
    ours = bare | {"SERVED_DIR": str(folder / "sqlite"), "SERVED_PROTECTED": "true"}
    found = {
        BARE: Stack(bare, lambda: 0),
        OURS: Stack(ours, lambda: count_sqlite(folder / "sqlite" / "db.sqlite3")),
    }
    try:
        redis_server.find_program()
        redis, server = (
            started.enter_context(redis_server.running()),
            started.enter_context(postgresql()),
        )
    except (CannotStartError, redis_server.CannotStartError) as error:
        print(f"Without {PRODUCTION}: {error}")
    else:
        server.execute(f"CREATE DATABASE scaling OWNER {OWNER}")
        stores = {"DATABASE_URL": server.url("scaling"), "REDIS_URL": redis.url}
        production = ours | {"SERVED_DIR": str(folder / "production"), **stores}
        found[PRODUCTION] = Stack(production, lambda: count_postgresql(server))
    for stack in found.values():
        if "SERVED_PROTECTED" in stack.environment:
            command = [sys.executable, "-m", "benchmarks.served", str(rules)]
            subprocess.run(command, cwd=ROOT, env=os.environ | stack.environment, check=True)
    return found


def report(figures: dict[tuple[int, str], list[dict[str, float]]]) -> None:
    middle, rows, least = statistics.median, [], {}
    for (workers, name), runs in figures.items():
        rates, cpus, p50s, p99s, clients = (
            [run[figure] for run in runs] for figure in ("rate", "cpu", "p50", "p99", "client")
        )
        least[workers, name] = min(cpus)
        cells = middle(rates), max(rates), min(cpus), middle(cpus), middle(p50s), middle(p99s)
        rows.append((workers, name, *cells, min(clients)))
    show("workers", COLUMNS, rows)
    few, many = min(workers for workers, _ in least), max(workers for workers, _ in least)
    for name in {name: None for _, name in least if name != BARE}:
        first, last = (least[count, name] - least[count, BARE] for count in (few, many))
        goal(f"{name}: CPU added with {many} workers, of that with {few}", last / first, GOAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", default="1,2,4", help="how many, with a comma between")
    parser.add_argument("--rules", type=int, default=100_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        with ExitStack() as started:
            served = stacks(folder, started, options.rules)
            counts = [int(count) for count in options.workers.split(",")]
            turns = [(count, name) for count in counts for name in served]
            figures: dict[tuple[int, str], list[dict[str, float]]] = {turn: [] for turn in turns}
            for _ in range(options.rounds):
                for count, name in random.sample(turns, len(turns)):
                    run = measure(served[name], count, options.seconds)
                    figures[count, name].append(run)
            report(figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
