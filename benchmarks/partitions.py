"""What others notice while a log of many rows becomes partitions, and while one is dropped.

In an empty PostgreSQL (DATABASE_URL, or --database) the log is made one plain table again, as
versions before had it, and filled. Then the migration runs, while two others use the log without a
pause: one records 50 requests at a time by COPY, one reads the newest 50. Shown is the longest that
either of them waited, beside the longest when nothing else happened; then the same for dropping a
partition with all those rows.

    python -m benchmarks.partitions --database postgres://... [--rows 10000000]
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--database", default=os.environ.get("DATABASE_URL", ""))
arguments.add_argument("--rows", type=int, default=10_000_000)
chosen = arguments.parse_args()
folder = prepare(DATABASE_URL=chosen.database)

from django.db import connection
from django.utils import timezone

from tests.tracking.records import numbered
from tracking import partitions, recorder, retention
from tracking.models import ReadPosition, RequestLog

GOAL_MS = 500
DAYS = 60  # over which the rows were recorded: the older half is over
BATCH = 500_000
FILL = """
INSERT INTO tracking_requestlog (at, address, counting_key, method, host, path, normal_path, query,
  status, duration_ms, user_pk, username, user_agent, referer, request_id, operations, country,
  city, asn, verdict, "limit", tags, source, recorded_at)
SELECT moment, '10.0.0.0'::inet + (i::bigint * 7919) %% 20000,
  host('10.0.0.0'::inet + (i::bigint * 7919) %% 20000), 'GET', 'example.org',
  '/articles/' || (i %% 5000), '/articles/' || (i %% 5000), '', 200, 12.5, '', '',
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36', '',
  md5(i::text), '', 'DE', 'Somewhere', 64500, 'ALLOWED', '', '', 'live', moment
FROM (SELECT i, now() - (%s - i) * %s * interval '1 second' AS moment
      FROM generate_series(%s, %s - 1) AS i) rows"""


def migrate(function: str) -> None:
    """Run the migration to partitions, or back: "divide" or "unite"."""
    module = import_module("tracking.migrations.0010_partitions")
    with connection.schema_editor(atomic=False) as editor:
        getattr(module, function)(None, editor)


def fill(rows: int) -> None:
    for start in range(0, rows, BATCH):
        with connection.cursor() as cursor:
            step = DAYS * 86_400 / rows
            cursor.execute(FILL, [rows, step, start, min(start + BATCH, rows)])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE tracking_requestlog")


def record() -> None:
    """Insert as the recorder does, which must never be refused."""
    position, _ = ReadPosition.objects.get_or_create(name="benchmark")
    made = recorder.advance(position, position.offset + 1, [numbered(n) for n in range(50)])
    assert made == 50, made


def read() -> None:
    assert len(RequestLog.objects.order_by("-at", "-pk").values_list("pk", "path")[:50]) == 50


def longest_waits(change: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Return the seconds of a change, and the longest time of each other user's turns."""
    over, waits = threading.Event(), {"recording": 0.0, "reading": 0.0}

    def use(name: str, turn: Callable[[], None]) -> None:
        while not over.is_set():
            begun = time.monotonic()
            turn()
            waits[name] = max(waits[name], time.monotonic() - begun)
        connection.close()

    users = [
        threading.Thread(target=use, args=pair)
        for pair in (("recording", record), ("reading", read))
    ]
    for user in users:
        user.start()
    begun = time.monotonic()
    try:
        change()
        took = time.monotonic() - begun
    finally:
        over.set()
        for user in users:
            user.join()
    return took, waits


def line(title: str, change: Callable[[], object]) -> tuple[str, float, float, float]:
    took, waits = longest_waits(change)
    return title, took, waits["recording"] * 1000, waits["reading"] * 1000


def main() -> int:
    if connection.vendor != "postgresql":
        raise SystemExit("SQLite has no partitions: name a PostgreSQL with --database")
    migrate("unite")
    fill(chosen.rows)
    lines = [
        line("nothing else", lambda: time.sleep(10)),
        line(f"{chosen.rows:,} rows become partitions", lambda: migrate("divide")),
    ]
    retention.renew(timezone.now())
    record()
    [oldest, *_] = partitions.stretches()
    batches = retention.Batches(time.monotonic() + 600)
    lines.append(line("their partition is dropped", lambda: retention._drop(oldest, batches)))
    columns = ("meanwhile", "s", "longest wait of who records, ms", "of who reads, ms")
    show("partitions", columns, lines)
    longest = max(wait for _, _, *waits in lines[1:] for wait in waits)
    return int(not goal("the longest wait of others", longest, GOAL_MS, "ms"))


if __name__ == "__main__":
    sys.exit(main())
