"""Buckets of time: those that a span has, and entries for those without requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracking import statistics
from tracking.statistics import Interval, Statistic, TooManyRows

WIDTHS = {
    Interval.MINUTE: timedelta(minutes=1),
    Interval.HOUR: timedelta(hours=1),
    Interval.DAY: timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` to before `until`; None: open on that side."""

    since: datetime | None
    until: datetime | None


def starts(interval: Interval, since: datetime, until: datetime) -> list[datetime]:
    """Return where the buckets begin that lie, in whole or in part, from `since` to `until`.

    Raises TooManyRows, at no cost, when they are more than an answer may have entries.
    """
    if until <= since:
        return []
    first, width = _start_of(interval, since), WIDTHS[interval]
    number = -((first - until) // width)
    if number > statistics.MOST_ROWS:
        raise TooManyRows
    return [first + place * width for place in range(number)]


def filled(
    found: Sequence[Statistic], is_grouped: bool, interval: Interval, span: Span, now: datetime
) -> list[Statistic]:
    """Return the groups with an entry for each bucket of a span, in order of time.

    Where the span has no beginning, they begin with the first bucket that holds requests; where it
    has no end, they end now. Without dimensions there is one group, also of nothing. Raises
    TooManyRows.
    """
    groups: dict[tuple[str | None, ...], dict[datetime, Statistic]] = {}
    if not is_grouped:
        groups[()] = {}
    for each in found:
        if each.bucket_start:
            groups.setdefault(each.values, {})[each.bucket_start] = each
    holding = {start for entries in groups.values() for start in entries}
    since, until = span.since or min(holding, default=now), span.until or now
    if holding:  # also in the future, of a clock that went wrong
        until = max(until, max(holding) + timedelta.resolution)
    moments = starts(interval, since, until)
    if len(moments) * len(groups) > statistics.MOST_ROWS:
        raise TooManyRows
    return [
        entries.get(moment) or Statistic(values, moment, 0, 0, 0.0)
        for values, entries in groups.items()
        for moment in moments
    ]


def _start_of(interval: Interval, moment: datetime) -> datetime:
    minute = moment.replace(second=0, microsecond=0)
    if interval is Interval.MINUTE:
        return minute
    return minute.replace(minute=0, hour=0 if interval is Interval.DAY else minute.hour)
