"""What does it cost to count a request for `/metrics`, and to answer a scrape?

    python -m benchmarks.metrics [rules] [rows of the record]

CPU time of the process that does it, with counts in shared files as under gunicorn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.environment import prepare
from benchmarks.tables import show
from project import workers

workers.share_counts(prepare(DEBUG="true") / "metrics")

from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from project import metrics, vitals
from tests.tracking.records import numbered
from tracking import guard, recorder
from tracking.models import AccessRule

TIMES, ROUNDS, SCRAPES = 50_000, 7, 40


def cost(work: Callable[[], object], times: int) -> float:
    """Return the CPU seconds that one of `times` takes, in the best of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - began) / times)
    return min(rounds)


def scrape() -> float:
    """Return the CPU milliseconds of a scrape, the median."""
    took = []
    for _ in range(SCRAPES):
        began = time.process_time()
        Client().get("/metrics")
        took.append(time.process_time() - began)
    return statistics.median(took) * 1e3


def fill(rules: int, rows: int) -> None:
    facts = {"kind": "ADDRESS", "action": "BLOCK", "version": 1, "created_by": "benchmark"}
    targets = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(rules))
    made = (AccessRule(target=target, created_at=timezone.now(), **facts) for target in targets)
    AccessRule.objects.bulk_create(made, batch_size=5000)
    for first in range(0, rows, 10_000):
        recorder.insert([recorder.row(numbered(first + n)) for n in range(10_000)])


def main(rules: int = 100_000, rows: int = 300_000) -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    guard.open(request)
    counting = metrics.MetricsMiddleware(lambda _: response)
    counted = cost(lambda: counting(request), TIMES) * 1e6
    table = [("counting a request", counted, "us"), ("a scrape, nothing on record", scrape(), "ms")]
    fill(rules, rows)
    table.append((f"a scrape, {rules:,} rules and {rows:,} rows", scrape(), "ms"))
    vitals.RULES_SECONDS = 0.0
    vitals._count_rules_at = 0.0
    counted = cost(lambda: vitals.active_rules(timezone.now()), 1) * 1e3
    table.append(("counting the rules, once a minute", counted, "ms"))
    show("metrics", ("what", "CPU time", "in"), table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
