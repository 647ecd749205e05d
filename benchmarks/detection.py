"""A run of detection over an hour of a long record, and what older rows cost it.

The rows are made by SQL, evenly over the time, in a database of its own (SQLite, or the PostgreSQL
of --database). Each figure is the wall time of one whole run whose new rows are those of the last
hour, or of the last minute; the least of the rounds.

    python -m benchmarks.detection [--database postgres://...] [--rounds 5] [--rows 5000000]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import timedelta

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

arguments = argparse.ArgumentParser()
arguments.add_argument("--database", default=os.environ.get("DATABASE_URL", ""))
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--rows", type=int, default=5_000_000, help="of the longest log")
chosen = arguments.parse_args()
folder = prepare(DATABASE_URL=chosen.database)

from django.db import connection
from django.db.models import Max
from django.utils import timezone

from tracking import detection
from tracking.models import Counter, DetectionRun, RequestLog, SuspiciousIP

GOAL_MS = 500
SHAPES = ((chosen.rows // 5, 24), (chosen.rows, 24), (chosen.rows, 120))  # rows, hours
BATCH = 500_000
RUN = (
    *("database", "rows", "over hours", "in the last hour", "run over the hour, ms wall"),
    "run over the last minute",
)

# From 20,000 addresses; 1 in 50 is missing, 1 in 1,000 has a tag that no detector minds alone.
COLUMNS = """(at, address, counting_key, method, host, path, normal_path, query, status,
  duration_ms, user_pk, username, user_agent, referer, request_id, operations, country, city, asn,
  verdict, "limit", tags, source)"""
REST = """'GET', 'example.org', '/articles/' || (i %% 5000), '/articles/' || (i %% 5000), '',
  CASE WHEN i %% 53 = 0 THEN 404 ELSE 200 END, 12.5, '', '',
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36', '',
  '0123456789abcdef', '', 'DE', 'Somewhere', 64500, 'ALLOWED', '',
  CASE WHEN i %% 1009 = 0 THEN ' tested ' ELSE '' END, 'live'"""
SQLITE = f"""
WITH RECURSIVE n(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM n WHERE i < %s - 1)
INSERT INTO tracking_requestlog {COLUMNS}
SELECT strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', ((i - %s) * %s) || ' seconds') || '001',
  '4' || printf('%%08x', 167772160 + (i * 7919) %% 20000),
  '10.0.' || ((i * 7919) %% 20000 / 256) || '.' || ((i * 7919) %% 20000 %% 256), {REST} FROM n"""
POSTGRESQL = f"""
INSERT INTO tracking_requestlog {COLUMNS}
SELECT now() + (i - %s) * %s * interval '1 second',
  '10.0.0.0'::inet + (i::bigint * 7919) %% 20000,
  host('10.0.0.0'::inet + (i::bigint * 7919) %% 20000), {REST}
FROM generate_series(%s, %s - 1) AS i"""


def fill(rows: int, hours: int) -> None:
    RequestLog.objects.all()._raw_delete("default")
    step = hours * 3600 / rows
    for start in range(0, rows, BATCH):
        end = min(start + BATCH, rows)
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(POSTGRESQL, [rows, step, start, end])
            else:
                cursor.execute(SQLITE, [start, end, rows, step])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tracking_requestlog")


def least(since: timedelta) -> float:
    """Return the milliseconds of a run whose new rows are those since then."""
    times = []
    for _ in range(chosen.rounds):
        now = timezone.now()
        old = RequestLog.objects.filter(at__lt=now - since).aggregate(last=Max("pk"))["last"] or 0
        Counter.objects.update_or_create(name=detection.WATERMARK, defaults={"value": old})
        DetectionRun.objects.all().delete()
        started = time.perf_counter()
        detection.run(now)
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def main() -> int:
    runs = []
    for rows, hours in SHAPES:
        fill(rows, hours)
        hour, minute = least(timedelta(hours=1)), least(timedelta(minutes=1))
        runs.append((connection.vendor, rows, hours, rows // hours, hour, minute))
        assert not SuspiciousIP.objects.exists(), "nobody here is suspicious"
    show("runs", RUN, runs)
    longest = max(run[4] for run in runs)
    return int(not goal(f"a run over an hour, {connection.vendor}", longest, GOAL_MS, "ms"))


if __name__ == "__main__":
    sys.exit(main())
