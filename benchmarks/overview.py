"""The figures of the overview, over a log of seven days, counted by the hour beforehand.

The rows come from many addresses, with a tail of rare ones, and ask for many paths. Shown are the
cost of counting (once for each hour, in the worker), and of looking at the last hour, day and week;
the goal is 300 ms of wall time each, the median, also while the newest minute is not counted yet.

    python -m benchmarks.overview [--rows 5000000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.environment import prepare

folder = prepare()

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from tracking import overview, rollups
from tracking.models import Counter, HourlyCount

GOAL_MS = 300
DAYS = 7
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s),
r AS (SELECT i, abs(random()) %% 1000000 / 1e6 AS u, abs(random()) %% 1000000 / 1e6 AS v FROM n)
INSERT INTO tracking_requestlog (at, address, counting_key, method, host, path, normal_path, query,
  status, duration_ms, user_pk, username, user_agent, referer, request_id, operations, country,
  city, asn, verdict, "limit", tags, source)
SELECT strftime('%%Y-%%m-%%d %%H:%%M:%%f', %s, '-' || ((%s - i) * %s) || ' seconds') || '000',
  '4' || printf('%%08x', 167772160 + CAST(60000 * u * u * u AS INTEGER)), '', 'GET', 'example.org',
  '/articles/' || CAST(20000 * v * v * v AS INTEGER), '', '',
  CASE WHEN i %% 50 = 0 THEN 403 WHEN i %% 20 = 0 THEN 404 ELSE 200 END, 1.5, '', '', 'Mozilla', '',
  lower(hex(randomblob(16))), '', substr('DEFRNLUSGBITESPLJPCN', 1 + 2 * (i %% 10), 2), '', 64500,
  CASE WHEN i %% 50 = 0 THEN 'BLOCKED' WHEN i %% 70 = 0 THEN 'LIMITED' ELSE 'ALLOWED' END,
  CASE WHEN i %% 50 <> 0 AND i %% 70 = 0 THEN 'graphql' ELSE '' END, '', 'live'
FROM r"""


def fill(rows: int) -> None:
    """Make the log, evenly over the days before now."""
    step = DAYS * 86_400 / rows
    with connection.cursor() as cursor:
        cursor.execute(FILL, [rows, timezone.now().strftime("%Y-%m-%d %H:%M:%S"), rows, step])


def milliseconds(period: overview.Period, rounds: int) -> list[float]:
    overview.look(period, timezone.now())
    found = []
    for _ in range(rounds):
        started = time.monotonic()
        overview.look(period, timezone.now())
        found.append((time.monotonic() - started) * 1000)
    return found


def show(title: str, rounds: int) -> float:
    dearest = 0.0
    for period in overview.Period:
        found = milliseconds(period, rounds)
        dearest = max(dearest, statistics.median(found))
        times = f"{min(found):8.0f}{statistics.median(found):8.0f}{max(found):8.0f}"
        print(f"{f'the last {period}, {title}':50}{times}")
    return dearest


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
    print(
        f"counted {arguments.rows:,} rows: {cpu:.1f} s CPU, {HourlyCount.objects.count():,} counts"
    )
    print(f"{'ms wall':50}{'min':>8}{'median':>8}{'max':>8}")
    dearest = show("all counted", arguments.rounds)
    minute = arguments.rows // (DAYS * 24 * 60)
    with transaction.atomic():
        before = F("value") - minute
        Counter.objects.filter(name=rollups.WATERMARK).update(value=before)
        dearest = max(dearest, show("the newest minute not", arguments.rounds))
        transaction.set_rollback(True)
    if dearest > GOAL_MS:
        raise SystemExit(f"missed: figures in at most {GOAL_MS} ms")


if __name__ == "__main__":
    main()
