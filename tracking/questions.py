"""Questions for statistics, whose answers are kept for a while (TRACKING_CACHE_TTL_STATISTICS)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from django.db.models import QuerySet
from django.utils import timezone

from tracking import answers, conf
from tracking.buckets import Span, filled, starts
from tracking.models import RequestLog
from tracking.statistics import Dimension, Interval, Statistic, count_requests
from tracking.timebudget import TimeBudget

COLUMNS = [field.name for field in fields(Statistic)]  # another release may have others


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted, and when."""

    counted_at: datetime
    statistics: list[Statistic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to count of which requests; see statistics.count_requests.

    `which` names the requests: two questions have the same only when both are about the same ones,
    and when whoever may ask the one may ask the other.
    """

    requests: QuerySet[RequestLog]
    which: str
    group_by: tuple[Dimension, ...]
    interval: Interval | None
    top: int
    with_percentiles: bool

    def answer(self, budget: TimeBudget, span: Span | None = None) -> list[Statistic]:
        """Return what was counted now, or no longer ago than answers are kept.

        With a span buckets without requests have entries, too. Raises OutOfTime and TooManyRows.
        """
        if span is None or self.interval is None:
            return self._kept(budget).statistics
        if span.since:  # too many buckets are refused before anything is counted
            starts(self.interval, span.since, span.until or timezone.now())
        found = self._kept(budget)
        return filled(found.statistics, bool(self.group_by), self.interval, span, found.counted_at)

    def _kept(self, budget: TimeBudget) -> _Counted:
        lifetime = conf.current().cache_ttl_statistics
        if not lifetime:
            return self._count(budget)
        asked = [self.which, self.group_by, self.interval, self.top, self.with_percentiles]
        found = answers.ask(
            ["statistics", COLUMNS, *asked], lifetime, budget, lambda: _written(self._count(budget))
        )
        return _read(found)

    def _count(self, budget: TimeBudget) -> _Counted:
        now = timezone.now()
        with budget.spending():
            found = count_requests(
                self.requests, self.group_by, self.interval, self.top, self.with_percentiles
            )
        return _Counted(now, found)


def _written(answer: _Counted) -> str:
    rows = [
        [
            each.values,
            each.bucket_start and each.bucket_start.timestamp(),
            each.count,
            each.unique_addresses,
            each.error_rate,
            each.percentiles,
        ]
        for each in answer.statistics
    ]
    return json.dumps([answer.counted_at.timestamp(), rows], separators=(",", ":"))


def _read(text: str) -> _Counted:
    counted_at, rows = json.loads(text)
    return _Counted(
        datetime.fromtimestamp(counted_at, UTC),
        [
            Statistic(
                tuple(values),
                None if start is None else datetime.fromtimestamp(start, UTC),
                count,
                addresses,
                error_rate,
                tuple(percentiles),
            )
            for values, start, count, addresses, error_rate, percentiles in rows
        ],
    )
