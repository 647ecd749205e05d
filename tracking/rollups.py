"""Requests counted by the hour, kept beside the rows, so that a week is seen without reading them.

The counts of an hour are used only while they say what its rows say. New rows are no trouble: they
are numbered in the order of their commits (tracking.recorder), and whoever reads counts adds the
rows behind the watermark, late ones included, until `renew` has taken them in. Whoever deletes or
changes rows calls `mark` in the same transaction: their hours are read row by row until they are
counted anew. So an answer is right at any moment, and `renew` only makes it fast.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, DateTimeField, F, Field, Func, Max, QuerySet, Sum

from tracking.breakdown import IN_TIME, LISTED, Breakdown, moment
from tracking.models import CountedHour, Counter, HourlyCount, RequestLog, Subject
from tracking.statistics import BUCKETS, Interval
from tracking.timebudget import TimeBudget

HOUR = timedelta(hours=1)
WATERMARK = "rollups.watermark"  # the number of the last row that was taken in
MOST_VALUES = 100  # of a subject in an hour; the rest is kept as one number
# In one transaction, which only looks up their hours: not more than SQLite takes parameters.
ROWS_TAKEN_IN = 30_000
LONGEST_SECONDS = 20.0

State = tuple[int, dict[datetime, int]]


class Moved(Exception):
    """Counts were renewed while they were read."""


def renew(seconds: float = LONGEST_SECONDS) -> int:
    """Take in new rows and count the hours that changed, the newest first; return how many.

    Stops after `seconds` with what is done; the next call goes on. Raises DatabaseError.
    """
    deadline = time.monotonic() + seconds
    while _take_in() and time.monotonic() < deadline:
        pass
    renewed = 0
    for hour in CountedHour.objects.exclude(counted=F("changes")).order_by("-start"):
        if time.monotonic() >= deadline:
            break
        renewed += _recount(hour)
    return renewed


def mark(rows: QuerySet[RequestLog]) -> None:
    """Say that rows are about to change or go; call it in the transaction that does so."""
    mark_hours(hours(rows))


def hours(rows: QuerySet[RequestLog]) -> set[datetime]:
    """Return the hours in which rows were requested."""
    buckets = rows.order_by().values_list(BUCKETS[Interval.HOUR], flat=True).distinct()
    return {moment(bucket) for bucket in buckets}


def mark_hours(changed: set[datetime]) -> None:
    """Do as `mark` does for rows of these hours, which must be all of theirs."""
    rows = CountedHour.objects.filter(pk__in=changed)
    # Whoever else marks some of them does it in the same order, and waits instead of deadlocking.
    missing = [CountedHour(start=hour) for hour in sorted(changed)]
    CountedHour.objects.bulk_create(missing, ignore_conflicts=True)
    list(rows.select_for_update().order_by("start").values_list("start"))
    rows.update(changes=F("changes") + 1)


def count(start: datetime, end: datetime, budget: TimeBudget | None = None) -> Breakdown:
    """Return what was requested from `start` to `end`, whole hours both, in buckets of an hour.

    Raises Moved when counts are renewed all the time, and OutOfTime when there is a budget.
    """
    for _ in range(3):
        state = _state(start, end)
        found = _counted(start, end, state, budget)
        if _state(start, end) == state:
            return found
    raise Moved


def watermark() -> int:
    """Return the number of the last row whose hour is known to have changed."""
    return Counter.objects.filter(name=WATERMARK).values_list("value", flat=True).first() or 0


def _take_in() -> bool:
    """Move the watermark over some rows, and mark their hours; tell whether more are there."""
    newest = RequestLog.objects.aggregate(last=Max("pk"))["last"] or 0
    with transaction.atomic():
        Counter.objects.get_or_create(name=WATERMARK)
        held = Counter.objects.select_for_update().get(name=WATERMARK)
        if held.value >= newest:
            return False
        new = RequestLog.objects.filter(pk__gt=held.value)
        # Numbers have gaps, as wide as a partition.
        first = new.order_by("pk").values_list("pk", flat=True).first() or newest
        upto = min(first + ROWS_TAKEN_IN, newest)
        mark(new.filter(pk__lte=upto))
        Counter.objects.filter(pk=held.pk).update(value=upto)
    return upto < newest


def _recount(hour: CountedHour) -> bool:
    """Count an hour's rows up to the watermark; False when it changed meanwhile."""
    found = Breakdown()
    found.add(_rows_of(hour.start, watermark()), Interval.HOUR)
    counts = list(_kept(hour.start, found))
    with transaction.atomic():
        same = CountedHour.objects.filter(pk=hour.pk, changes=hour.changes)
        if not same.update(counted=hour.changes):
            return False
        HourlyCount.objects.filter(start=hour.start).delete()
        HourlyCount.objects.bulk_create(counts)
    return True


def _kept(start: datetime, found: Breakdown) -> Iterator[HourlyCount]:
    for (_, subject, value), requests in found.times.items():
        yield HourlyCount(start=start, subject=subject, value=value, requests=requests, refused=0)
    for subject in LISTED:
        counted, refused = found.requests[subject], found.refused[subject]
        ordered = counted.most_common()
        for value, requests in ordered[:MOST_VALUES]:
            yield HourlyCount(
                start=start,
                subject=subject,
                value=value,
                requests=requests,
                refused=refused[value],
            )
        rest = ordered[MOST_VALUES:]
        if most := max((requests for _, requests in rest), default=0) + found.missing[subject]:
            yield HourlyCount(
                start=start,
                subject=subject,
                value=None,
                requests=sum(requests for _, requests in rest),
                refused=sum(refused[value] for value, _ in rest),
                most=most,
            )


def _state(start: datetime, end: datetime) -> State:
    """Return the watermark, and the hours that have rows, with their state; -1 if not counted."""
    hours = CountedHour.objects.filter(start__gte=start, start__lt=end)
    states = hours.values_list("start", "changes", "counted")
    return watermark(), {hour: now if now == counted else -1 for hour, now, counted in states}


def _counted(start: datetime, end: datetime, state: State, budget: TimeBudget | None) -> Breakdown:
    mark, hours = state
    stale = [hour for hour, changes in hours.items() if changes < 0]
    found = Breakdown(budget)
    _add_counts(found, HourlyCount.objects.filter(start__gte=start, start__lt=end), stale)
    for hour in stale:
        found.add(_rows_of(hour, mark), Interval.HOUR)
    new = RequestLog.objects.filter(pk__gt=mark).annotate(when=_Unindexed("at", DateTimeField()))
    found.add(new.filter(when__gte=start, when__lt=end), Interval.HOUR)
    return found


def _rows_of(hour: datetime, mark: int) -> QuerySet[RequestLog]:
    rows = RequestLog.objects.window(hour, hour + HOUR)
    return rows.annotate(number=_Unindexed("pk", BigIntegerField())).filter(number__lte=mark)


def _add_counts(found: Breakdown, counts: QuerySet[HourlyCount], stale: Sequence[datetime]) -> None:
    kept = counts.exclude(start__in=stale)
    in_time = kept.filter(subject__in=IN_TIME).values_list("start", "subject", "value", "requests")
    for start, subject, value, requests in in_time:
        found.times[start, Subject(subject), value or ""] += requests
    sums = [Sum("requests"), Sum("refused"), Sum("most")]
    listed = kept.filter(subject__in=LISTED).values_list("subject", "value")
    for name, value, requests, refused, most in listed.annotate(*sums):
        subject = Subject(name)
        if value is None:
            found.missing[subject] += most
        else:
            found.requests[subject][value] += requests
            found.refused[subject][value] += refused


class _Unindexed(Func):
    """A column by which SQLite shall not look for rows: another index leads to fewer of them."""

    template = "%(expressions)s"

    def __init__(self, column: str, output_field: Field[Any, Any]) -> None:
        super().__init__(F(column), output_field=output_field)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **extra)
