"""Four ways to write a row of the record: what they cost the request, and what they cost in all.

Each writes the same rows: an ORM insert, a plain INSERT, a queue in memory from which a thread
inserts in bulk, and the journal, from which the drainer moves them. They take turns in every round.
The request's cost is CPU time of the thread that asks; the rest is that of the whole process until
all rows are in the database, the work of a PostgreSQL server not among it.

    python -m benchmarks.writing [--rows 2000] [--rounds 7]

The database is SQLite in a temporary folder unless DATABASE_URL names another (it is then filled
with the benchmark's rows: give it an empty one).
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

prepare(DATABASE_URL=os.environ.get("DATABASE_URL", ""))

from django.db import connection
from django.db.models import NOT_PROVIDED

from tracking import drainer, journal
from tracking.engine.visit import Record
from tracking.models import RequestLog

GOAL_US = 15
BATCH, INTERVAL = 500, 0.25  # rows and seconds, of the thread that inserts in bulk
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
REFERER = "https://example.org/articles/"
FIELDS = [
    field
    for field in RequestLog._meta.concrete_fields
    if not field.primary_key and field.db_default is NOT_PROVIDED
]
COLUMNS = ", ".join(connection.ops.quote_name(field.column) for field in FIELDS)
INSERT = f"INSERT INTO tracking_requestlog ({COLUMNS}) VALUES ({', '.join(['%s'] * len(FIELDS))})"

WAYS = (
    *("database", "one row", "the request, CPU us: min", "median", "in all, CPU us: min"),
    *("longest wait, ms", "rows/s"),
)


class Round(NamedTuple):
    """Microseconds of CPU for a row: in the request, and in all; microseconds one call waits."""

    request: float
    process: float
    waited: float
    seconds: float


def fields(number: int) -> dict[str, Any]:
    address = f"198.51.{number % 250}.7"
    path = f"/articles/{number % 3000}/"
    return {
        "at": datetime.now(UTC), "address": address, "counting_key": address, "method": "GET",
        "host": "example.org", "path": path, "normal_path": path, "status": 200,
        "duration_ms": 1.234, "user_agent": AGENT, "referer": REFERER,
        "request_id": f"{number:032x}", "verdict": "ALLOWED",
    }  # fmt: skip


def by_orm(number: int) -> None:
    RequestLog.objects.create(**fields(number))


def by_insert(number: int) -> None:
    row = fields(number)
    values = [
        field.get_db_prep_save(row.get(field.attname, field.get_default()), connection)
        for field in FIELDS
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)


def by_journal(number: int) -> None:
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    path = f"/articles/{number % 3000}/"
    record = Record(
        at, f"198.51.{number % 250}.7", "GET", "example.org", path, "", 200, 1.234, "", "", AGENT,
        REFERER, f"{number:032x}", "", "", "ALLOWED", "live",
    )  # fmt: skip
    journal.mine().append(record)


class Queue:
    """A thread that inserts what waits in memory, in bulk."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.insert)
        self.thread.start()

    def put(self, number: int) -> None:
        self.waiting.put(fields(number))

    def insert(self) -> None:
        rows: list[RequestLog] = []
        end = time.monotonic() + INTERVAL
        going = True
        while going:
            try:
                found = self.waiting.get(timeout=max(0.0, end - time.monotonic()))
                going = found is not None
                if found is not None:
                    rows.append(RequestLog(**found))
            except queue.Empty:
                end = time.monotonic() + INTERVAL
            if rows and (len(rows) == BATCH or not going or time.monotonic() >= end):
                RequestLog.objects.bulk_create(rows)
                rows.clear()
        connection.close()

    def finish(self) -> None:
        self.waiting.put(None)
        self.thread.join()


def drain() -> None:
    journal.close()
    drainer.drain()


def ways() -> dict[str, Callable[[], tuple[Callable[[int], None], Callable[[], object]]]]:
    """Return for each way how it begins: with what writes one row, and what ends the round."""

    def queued() -> tuple[Callable[[int], None], Callable[[], object]]:
        started = Queue()
        return started.put, started.finish

    return {
        "ORM create": lambda: (by_orm, lambda: None),
        "plain INSERT": lambda: (by_insert, lambda: None),
        "queue in memory, bulk_create": queued,
        "journal, drained": lambda: (by_journal, drain),
    }


def measure(
    begin: Callable[[], tuple[Callable[[int], None], Callable[[], object]]], rows: int
) -> Round:
    before = RequestLog.objects.count()
    started, process = time.perf_counter(), time.process_time()
    write, finish = begin()
    thread, waits = time.thread_time(), []
    for number in range(rows):
        asked = time.perf_counter()
        write(number)
        waits.append(time.perf_counter() - asked)
    request = time.thread_time() - thread
    finish()
    process, seconds = time.process_time() - process, time.perf_counter() - started
    assert RequestLog.objects.count() == before + rows
    return Round(request / rows * 1e6, process / rows * 1e6, max(waits) * 1e3, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    candidates = ways()
    figures: dict[str, list[Round]] = {name: [] for name in candidates}
    for begin in candidates.values():
        measure(begin, 50)
    for _ in range(options.rounds):
        for name in random.sample(list(candidates), len(candidates)):
            figures[name].append(measure(candidates[name], options.rows))
    table = []
    for name, rounds in figures.items():
        request, process, waited, seconds = zip(*rounds, strict=True)
        rate, middle = options.rows / min(seconds), statistics.median
        cells = min(request), middle(request), min(process), middle(waited), rate
        table.append((connection.vendor, name, *cells))
    show("ways", WAYS, table)
    least = min(each.request for each in figures["journal, drained"])
    goal(f"a request's own cost of a row, {connection.vendor}", least, GOAL_US, "us")


if __name__ == "__main__":
    main()
