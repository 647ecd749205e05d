"""What it takes not to ask again: requestStats with kept answers, and places that are remembered.

Each line asks the same over GraphQL, of the log of benchmarks.graphql_pages: a day by status class
and hour. "Kept" lines are told what was counted before, in memory or, with the memory emptied each
time, in Redis; "first" is what nobody asked before, so that the difference to "without" is what
keeping costs. The last lines are 8 threads that ask at the same moment. CPU time is that of the
whole process. Where there is no Redis program its lines are left out. The last table looks up the
places of 1,000 addresses in a file of 5,000 records, whose 1,000 records are decoded already.

    python -m benchmarks.statistics_cache [--rows 200000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.db import connection
from django.test import override_settings

from benchmarks.graphql_pages import asker, fill, folder, must
from benchmarks.tables import goal, show
from schema.view import graphql
from tests import mmdb, redis_server
from tracking import answers, geo
from tracking.engine.address import parse_address

THREADS = 8
DAY = 86_400
GOAL = 0.2  # of counting, for a kept answer and for 8 who ask at once (of 8 times counting)
STATS = """
query Q($filter: RequestLogFilter) {
  requestStats(filter: $filter, groupBy: [STATUS_CLASS], interval: HOUR, top: 5) {
    dimensions { value } bucketStart count uniqueAddresses errorRate %s
  }
}"""
Ask = Callable[[], object]


def moment(ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - ago))


def kept_for(seconds: float, redis_url: str = "") -> override_settings:
    return override_settings(
        TRACKING_CACHE_TTL_STATISTICS=seconds,
        TRACKING_REDIS_URL=redis_url,
        TRACKING_QUERY_TIME_BUDGET=60.0,
    )


def cost(task: Ask, before: Ask) -> tuple[float, float]:
    """Return milliseconds of CPU and of wall time; `before` is not measured."""
    before()
    cpu, wall = time.process_time(), time.monotonic()
    task()
    return (time.process_time() - cpu) * 1000, (time.monotonic() - wall) * 1000


def at_once(task: Ask) -> None:
    start = threading.Barrier(THREADS)

    def ask() -> None:
        try:
            start.wait()
            task()
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def forget_memory() -> None:
    """Forget what this process keeps, but not what is in Redis."""
    answers._answers = answers.Answers()


def lines(ask: Ask, redis_url: str) -> dict[str, tuple[override_settings, Ask, Ask]]:
    """Return for each line its settings, what is measured, and what comes before it."""

    def nothing() -> None: ...

    kept, off = kept_for(3600), kept_for(0)
    found: dict[str, tuple[override_settings, Ask, Ask]] = {
        "without": (off, ask, nothing),
        "first": (kept, ask, answers.reset),
        "kept in memory": (kept, ask, nothing),
    }
    if redis_url:
        shared = kept_for(3600, redis_url)
        found["kept in Redis"] = (shared, ask, forget_memory)
    found[f"{THREADS} at once, without"] = (off, lambda: at_once(ask), nothing)
    found[f"{THREADS} at once, first"] = (kept, lambda: at_once(ask), answers.reset)
    found[f"{THREADS} at once, kept in memory"] = (kept, lambda: at_once(ask), nothing)
    return found


def measured(asked: dict[str, Any], fields: str, redis_url: str, rounds: int) -> dict[str, float]:
    """Show the costs of asking for fields, and return the least CPU time of each line."""
    asker_of_it = asker(graphql, STATS % fields)
    found = lines(lambda: must(asker_of_it(**asked)), redis_url)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(rounds + 1):
        for name, (settings, task, before) in found.items():
            with settings:
                costs[name].append(cost(task, before))
    rows = []
    for name, pairs in costs.items():
        cpu, wall = zip(*pairs[1:], strict=True)  # after the first round, which warms up
        rows.append((name, min(cpu), statistics.median(cpu), statistics.median(wall)))
    title = "statistics with percentiles" if fields else "statistics"
    show(title, (title, "CPU ms: min", "median", "wall ms: median"), rows)
    return {name: min(cpu for cpu, _ in pairs[1:]) for name, pairs in costs.items()}


def places(rounds: int) -> None:
    """Show what the place of an address costs, remembered and not."""
    records = {
        f"{11 + number // 256}.{number % 256}.0.0/16": {
            "country": {"iso_code": "DE"},
            "city": {"names": {"en": f"City {number}"}},
        }
        for number in range(5_000)
    }
    file = mmdb.write(folder / "city.mmdb", "GeoLite2-City", records)
    addresses = [parse_address(f"{11 + n // 256}.{n % 256}.1.1") for n in range(1_000)]

    def look_up() -> None:
        for address in addresses:
            geo.locate(address)

    rows = []
    for name, seconds in (("not remembered", 0), ("remembered", 3600)):
        with override_settings(TRACKING_GEOIP_PATH=file, TRACKING_CACHE_TTL_PLACES=seconds):
            geo.reset()
            look_up()
            # Milliseconds for a thousand are microseconds for one.
            found = [cost(look_up, geo.status)[0] for _ in range(rounds)]
        rows.append((name, min(found), statistics.median(found)))
    show("places", ("the place of an address", "CPU us: min", "median"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    fill(arguments.rows)
    asked = {"filter": {"at": {"gte": moment(DAY), "lt": moment(0)}}}
    with ExitStack() as stack:
        redis_url = ""
        try:
            redis_server.find_program()
        except redis_server.CannotStartError as error:
            print(f"without Redis: {error}")
        else:
            redis_url = stack.enter_context(redis_server.running()).url
        least = measured(asked, "", redis_url, arguments.rounds)
        measured(asked, "p50Ms p95Ms p99Ms", redis_url, arguments.rounds)
    places(arguments.rounds)
    counting = least["without"]
    shares = {
        "a kept answer": least["kept in memory"] / counting,
        f"{THREADS} at once": least[f"{THREADS} at once, first"] / counting / THREADS,
    }
    met = [goal(f"{name}, of counting", share, GOAL) for name, share in shares.items()]
    if not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
