"""Everything about one address, and percentiles of durations, asked over GraphQL.

The log is that of benchmarks.graphql_pages, but a fifth of it comes from one busy address, with
9,000 paths and 500 user agents. The dossier has every part of it; its goal is 50 ms of wall time
(the median, after a first run). The percentiles are asked of the newest million rows, beside the
same question without them; the time budget is lifted for that.

    python -m benchmarks.dossier [--rows 5000000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Callable

from django.db import connection
from django.test import override_settings

from benchmarks.graphql_pages import asker, fill, folder, must
from benchmarks.tables import goal, show
from schema.view import graphql

GOAL_MS = 50
COUNTED = 1_000_000
QUIET, BUSY, ABSENT = "10.0.0.7", "10.0.78.1", "192.0.2.1"
BUSIEST = """
UPDATE tracking_requestlog SET address = '4' || '0a004e01',
  path = '/articles/' || (id % 9000), user_agent = 'agent ' || (id % 500) WHERE id % 5 = 0
"""
DURATIONS = f"""
UPDATE tracking_requestlog SET duration_ms = 0.2 + (id * 7919 % 100003) / 50.0
WHERE id > (SELECT MAX(id) FROM tracking_requestlog) - {COUNTED}
"""
TALLIES = " ".join(
    f"{name} {{ value requests }}"
    for name in ("statusClasses", "paths", "agents", "users", "operations", "tags")
)
DOSSIER = f"""
query Q($address: IPAddress!) {{ ip(address: $address) {{
  scope place {{ country city asn }} firstSeen lastSeen
  activity {{ requests isComplete since verdicts {{ verdict requests }} {TALLIES} }}
  recentRequests {{ id at method path status durationMs userAgent verdict tags }}
  neighbours {{ network count isComplete busiest {{ address requests lastSeen }} }}
  rules {{ target action reason }} pastRules {{ target action endedAt }}
  suspicions {{ detector reason evidence {{ at path }} }} attempts {{ at account outcome }}
}} }}"""
PERCENTILES = (
    "counting the newest million requests",
    "ms wall, min of 2",
    "with p50Ms, p95Ms, p99Ms",
)
STATS = """
query Q($filter: RequestLogFilter, $by: [RequestDimension!]!, $interval: Interval)
{ requestStats(filter: $filter, groupBy: $by, interval: $interval, top: 20) { count %s } }"""


def prepare_rows(rows: int) -> None:
    """Make the log; the index of addresses is made again, which takes less than to change it."""
    fill(rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'requestlog_address_at'")
        [[index]] = cursor.fetchall()
        for sql in ("DROP INDEX requestlog_address_at", BUSIEST, DURATIONS, index):
            cursor.execute(sql)


def wall_milliseconds(task: Callable[[], object], rounds: int) -> list[float]:
    """Return the times of some runs after a first one that does not count."""
    task()
    found = []
    for _ in range(rounds):
        started = time.monotonic()
        task()
        found.append((time.monotonic() - started) * 1000)
    return found


def dossiers(rounds: int) -> float:
    """Show what the dossier of each kind of address costs; return the dearest median."""
    ask, lines = asker(graphql, DOSSIER), []
    for name, address in (("quiet", QUIET), ("busy", BUSY), ("not on record", ABSENT)):
        found = wall_milliseconds(lambda: must(ask(address=address)), rounds)  # noqa: B023
        lines.append((name, min(found), statistics.median(found), max(found)))
    show("addresses", ("dossier of an address", "ms wall: min", "median", "max"), lines)
    return max(median for _, _, median, _ in lines)


def percentiles() -> None:
    """Show what counting a million requests costs without percentiles and with them."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - COUNTED))
    lines = []
    for name, by, interval in (
        ("in one group", [], None),
        ("by hour", [], "HOUR"),
        ("by path", ["PATH"], None),
        ("by verdict and hour", ["VERDICT"], "HOUR"),
        ("by tag", ["TAG"], None),
    ):
        asked = {"filter": {"at": {"gte": since}}, "by": by, "interval": interval}
        costs = [
            min(wall_milliseconds(lambda: must(ask(**asked)), 2))  # noqa: B023
            for ask in (asker(graphql, STATS % ""), asker(graphql, STATS % "p50Ms p95Ms p99Ms"))
        ]
        lines.append((name, *costs))
    show("percentiles", PERCENTILES, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    prepare_rows(arguments.rows)
    dearest = dossiers(arguments.rounds)
    with override_settings(TRACKING_QUERY_TIME_BUDGET=60.0):
        percentiles()
    if not goal("a dossier, the median", dearest, GOAL_MS, "ms"):
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
