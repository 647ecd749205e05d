"""What an operator sees first: the last hour, day or week in figures, and what waits for him."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, QuerySet, Value, When

from tracking import rollups
from tracking.breakdown import LISTED, Breakdown
from tracking.engine.findings import Severity
from tracking.models import AccessRule, RequestLog, Subject, SuspiciousIP
from tracking.statistics import Interval
from tracking.timebudget import TimeBudget

MOST_LISTED = 10
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Period(enum.StrEnum):
    """How far back one looks."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The requests of one bucket of time, by verdict and by class of status; only what occurred."""

    start: datetime
    verdicts: dict[str, int]
    status_classes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Top:
    """A value and its requests, of which so many were refused; an unknown country is ""."""

    value: str
    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The requests from `start` to `end` in buckets without gaps, and the busiest values.

    In `missing` stands how many requests may have to be added to each value of a subject: only
    the most frequent values of each hour are kept (tracking.rollups), nearly always 0 matter.
    """

    period: Period
    start: datetime
    end: datetime
    width: timedelta
    buckets: tuple[Bucket, ...]
    verdicts: dict[str, int]
    status_classes: dict[str, int]
    tops: dict[Subject, tuple[Top, ...]]
    missing: dict[Subject, int]

    @property
    def requests(self) -> int:
        return sum(self.verdicts.values())


def look(period: Period, now: datetime, budget: TimeBudget | None = None) -> Overview:
    """Return the figures of the period whose last bucket is the one of `now`.

    The last hour is read row by row, a day and a week from the counts by the hour. Raises
    rollups.Moved when counts are renewed all the time, OutOfTime when there is a budget, and
    DatabaseError.
    """
    if period is Period.HOUR:
        width = MINUTE
        end = now.replace(second=0, microsecond=0) + MINUTE
        start = end - HOUR
        found = Breakdown(budget)
        found.add(RequestLog.objects.window(start, end), Interval.MINUTE)
    else:
        width = HOUR
        end = now.replace(minute=0, second=0, microsecond=0) + HOUR
        start = end - timedelta(days=1 if period is Period.DAY else 7)
        found = rollups.count(start, end, budget)
    return _overview(period, start, end, width, found)


def open_suspicions() -> QuerySet[SuspiciousIP]:
    """Return the suspicions that wait for a person, the worst and newest first."""
    rank = Case(*(When(severity=name, then=Value(name.rank)) for name in Severity))
    rows = SuspiciousIP.objects.filter(status=SuspiciousIP.Status.OPEN)
    return rows.order_by(rank.desc(), "-last_seen", "-id")


def active_blocks(now: datetime) -> QuerySet[AccessRule]:
    """Return the rules in force that block an address or a network, the newest first."""
    return AccessRule.objects.blocked_ips(now).order_by("-created_at", "-id")


def _overview(
    period: Period, start: datetime, end: datetime, width: timedelta, found: Breakdown
) -> Overview:
    moments = [start + width * number for number in range((end - start) // width)]
    buckets = {moment: Bucket(moment, {}, {}) for moment in moments}
    verdicts, classes = Counter[str](), Counter[str]()
    for (moment, subject, value), requests in sorted(found.times.items()):
        is_verdict = subject is Subject.VERDICT
        bucket = buckets[moment]
        (bucket.verdicts if is_verdict else bucket.status_classes)[value] = requests
        (verdicts if is_verdict else classes)[value] += requests
    return Overview(
        period,
        start,
        end,
        width,
        tuple(buckets.values()),
        dict(verdicts),
        dict(classes),
        {subject: _tops(found, subject) for subject in LISTED},
        {subject: found.missing[subject] for subject in LISTED},
    )


def _tops(found: Breakdown, subject: Subject) -> tuple[Top, ...]:
    busiest = found.requests[subject].most_common(MOST_LISTED)
    return tuple(Top(value, n, found.refused[subject][value]) for value, n in busiest)
