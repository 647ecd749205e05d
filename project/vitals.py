"""How the service is, as numbers for `/metrics`: read from memory, files and a few database rows.

Nothing here reads more of the request log than the ends of its index, and all questions together
may keep the database busy for SECONDS.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime

import django
from django.db import DatabaseError, connection
from django.db.models import Count, Max
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from schema.server import release
from tracking import background, backlog, conf, drainer, geo, journal, limiter, policy, recorder
from tracking.health import HEARTBEAT
from tracking.models import WATERMARK, AccessRule, RequestLog
from tracking.models import Counter as Row
from tracking.timebudget import OutOfTime, TimeBudget

SECONDS = 2.0
RULES_SECONDS = 60.0  # the rules are counted no more often than that
_NAMES = (HEARTBEAT, WATERMARK, policy.VERSION, recorder.DAMAGED, recorder.DROPPED)

Labels = dict[str, str]


class Vitals(Collector):
    """Collects anew each time it is asked, from one thread of this process at a time.

    While one waits for a database that hangs, others leave out what only the database knows.
    """

    def collect(self) -> Iterator[Metric]:
        yield from of_this_process()
        if not _asking.acquire(blocking=False):
            return
        try:
            with TimeBudget(SECONDS).spending():
                found = list(of_the_database(timezone.now()))
        except (DatabaseError, OutOfTime):
            found = []
        finally:
            _asking.release()
        yield gauge("tracking_database_up", "Whether the database answers", float(bool(found)))
        yield from found


def of_this_process() -> Iterator[Metric]:
    """Yield what is known without the database."""
    _, version = release()
    about = {
        "version": version,
        "python": platform.python_version(),
        "django": django.get_version(),
        "store": connection.vendor,
    }
    yield gauge("tracking_build_info", "What runs here", 1, about)
    # A process that nobody has asked yet knows older rules, and will load others before it decides.
    known: list[tuple[Labels, float]] = []
    if background.is_running():
        known.append(({}, policy.version()))
    text = "Version of the rules in force in one process that follows their changes"
    yield gauges("tracking_rules_version", text, known)
    yield gauge(
        "tracking_limits_in_memory",
        "Whether one process counts limits for itself, since Redis is away",
        float(limiter.is_without_redis()),
    )
    now = timezone.now()
    yield gauges(
        "tracking_geo_database_age_seconds",
        "Time since a file of places was built",
        [({"file": file.name}, seconds(now, file.built)) for file in geo.status()],
    )


def of_the_database(now: datetime) -> Iterator[Metric]:
    """Yield what the database knows. Raises DatabaseError."""
    rows = {row.name: row for row in Row.objects.filter(name__in=_NAMES)}
    values = {name: rows[name].value if name in rows else 0 for name in _NAMES}
    if HEARTBEAT in rows:
        yield gauge(
            "tracking_worker_heartbeat_age_seconds",
            "Time since a Huey worker has given a sign of life",
            seconds(now, rows[HEARTBEAT].updated_at),
        )
    yield gauge(
        "tracking_rules_version_in_database",
        "Version of the book of rules",
        values[policy.VERSION],
    )
    yield gauges("tracking_rules", "Rules in force", active_rules(now))
    yield from of_the_journal(values[recorder.DROPPED], values[recorder.DAMAGED])
    yield from of_detection(now, values[WATERMARK])


def of_the_journal(dropped: int, damaged: int) -> Iterator[Metric]:
    files = len(journal.segments(conf.current().journal_dir))
    yield gauge("tracking_journal_segments", "Files of this node's journal", files)
    yield gauge(
        "tracking_journal_backlog_bytes",
        "Bytes of this node's journal that are not in the database yet",
        drainer.backlog(),
    )
    yield counter(
        "tracking_journal_dropped_records",
        "Records that no disk took or that exceeded the journal's bound, on all nodes",
        dropped,
    )
    yield counter(
        "tracking_journal_damaged_records",
        "Records that could not be read or that the database refused, on all nodes",
        damaged,
    )


def of_detection(now: datetime, watermark: int) -> Iterator[Metric]:
    state = backlog.of(now)
    newest = RequestLog.objects.aggregate(newest=Max("pk"))["newest"] or watermark
    yield gauge(
        "tracking_detection_backlog_rows",
        "Rows of the record that no run of detection has looked at",
        max(0, newest - watermark),
    )
    yield gauge(
        "tracking_detection_backlog_seconds",
        "Age of the oldest of these rows",
        seconds(now, state.waiting_since or now),
    )
    run = state.last_run
    if run is not None:
        name = "tracking_detection_last_run"
        age, duration = seconds(now, run.started_at), run.duration_ms / 1000
        yield gauge(f"{name}_age_seconds", "Time since the last run of detection", age)
        yield gauge(f"{name}_duration_seconds", "How long that run took", duration)
        yield gauge(f"{name}_findings", "What that run found", run.findings)
        yield gauge(f"{name}_blocked", "Whom that run blocked", run.blocked)


def active_rules(now: datetime) -> list[tuple[Labels, float]]:
    """Return how many rules of each sort are in force, as counted lately."""
    global _rules, _count_rules_at
    if time.monotonic() >= _count_rules_at:
        sorts = AccessRule.objects.live(now).order_by().values_list("action", "kind", "observed")
        _rules = [
            ({"action": action, "kind": kind, "observed": str(observed).lower()}, number)
            for action, kind, observed, number in sorts.annotate(Count("pk"))
        ]
        _count_rules_at = time.monotonic() + RULES_SECONDS
    return _rules


def seconds(now: datetime, then: datetime) -> float:
    return (now - then).total_seconds()


def gauge(name: str, text: str, value: float, labels: Labels | None = None) -> Metric:
    return gauges(name, text, [(labels or {}, value)])


def gauges(name: str, text: str, values: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, text)
    for labels, value in values:
        family.add_sample(name, labels, value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


_asking = threading.Lock()
_rules: list[tuple[Labels, float]] = []
_count_rules_at = 0.0  # on the monotonic clock
