"""The figures of the overview, over a log of seven days, counted by the hour beforehand.

The rows come from many addresses, with a tail of rare ones, and ask for many paths. Shown are the
cost of counting (once for each hour, in the worker), and of looking at the last hour, day and week;
the goal is 300 ms of wall time each, the median, also while the newest minute is not counted yet.

The database is SQLite in a temporary folder unless DATABASE_URL names another (it is then filled:
give it an empty one).

    python -m benchmarks.overview [--rows 5000000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

folder = prepare(DATABASE_URL=os.environ.get("DATABASE_URL", ""))

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from tracking import overview, rollups
from tracking.models import Counter, HourlyCount

GOAL_MS = 300
DAYS = 7
INSERT = """
INSERT INTO tracking_requestlog (at, address, counting_key, method, host, path, normal_path, query,
  status, duration_ms, user_pk, username, user_agent, referer, request_id, operations, country,
  city, asn, verdict, "limit", tags, source) """
REST = """, '', '',
  CASE WHEN i %% 50 = 0 THEN 403 WHEN i %% 20 = 0 THEN 404 ELSE 200 END, 1.5, '', '', 'Mozilla', '',
  '0123456789abcdef', '', substr('DEFRNLUSGBITESPLJPCN', 1 + 2 * (i %% 10), 2), '', 64500,
  CASE WHEN i %% 50 = 0 THEN 'BLOCKED' WHEN i %% 70 = 0 THEN 'LIMITED' ELSE 'ALLOWED' END,
  CASE WHEN i %% 50 <> 0 AND i %% 70 = 0 THEN 'graphql' ELSE '' END, '', 'live' FROM r"""
SQLITE = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s),
r AS (SELECT i, abs(random()) %% 1000000 / 1e6 AS u, abs(random()) %% 1000000 / 1e6 AS v FROM n)
{INSERT} SELECT
  strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-' || ((%s - i) * %s) || ' seconds') || '000',
  '4' || printf('%%08x', 167772160 + CAST(60000 * u * u * u AS INTEGER)), '', 'GET', 'example.org',
  '/articles/' || CAST(20000 * v * v * v AS INTEGER){REST}"""
POSTGRESQL = f"""
WITH r AS (SELECT i, random() AS u, random() AS v FROM generate_series(1, %s) AS i)
{INSERT} SELECT now() - (%s - i) * %s * interval '1 second',
  '10.0.0.0'::inet + floor(60000 * u * u * u)::bigint, '', 'GET', 'example.org',
  '/articles/' || floor(20000 * v * v * v){REST}"""


def fill(rows: int) -> None:
    """Make the log, evenly over the days before now."""
    sql = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows, rows, DAYS * 86_400 / rows])
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE tracking_requestlog")


def milliseconds(period: overview.Period, rounds: int) -> list[float]:
    overview.look(period, timezone.now())
    found = []
    for _ in range(rounds):
        started = time.monotonic()
        overview.look(period, timezone.now())
        found.append((time.monotonic() - started) * 1000)
    return found


def lines(title: str, rounds: int) -> list[tuple[str, float, float, float]]:
    """Return for each period its least, middle and longest milliseconds."""
    found = []
    for period in overview.Period:
        times = milliseconds(period, rounds)
        figures = min(times), statistics.median(times), max(times)
        found.append((f"the last {period}, {title}", *figures))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    fill(arguments.rows)
    started = time.process_time()
    while rollups.renew(seconds=3600):
        pass
    cpu = time.process_time() - started
    counted = [(arguments.rows, cpu, HourlyCount.objects.count())]
    show("counting", ("rows counted by the hour", "CPU s", "counts kept"), counted)
    rows = lines("all counted", arguments.rounds)
    minute = arguments.rows // (DAYS * 24 * 60)
    with transaction.atomic():
        before = F("value") - minute
        Counter.objects.filter(name=rollups.WATERMARK).update(value=before)
        rows += lines("the newest minute not", arguments.rounds)
        transaction.set_rollback(True)
    show("periods", ("figures of", "ms wall: min", "median", "max"), rows)
    dearest = max(median for _, _, median, _ in rows)
    if not goal("figures of the overview, the median", dearest, GOAL_MS, "ms"):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
