"""Let go of rows that have been kept long enough, or are too many.

What counts is when a row was recorded, not when the request was made: an old log that somebody
brings in today is kept as long as what happens today. Rows are recorded in the order of their
numbers, so the oldest have the lowest ones and no index is needed to find them.

On PostgreSQL whole partitions go, in milliseconds; elsewhere, and where a partition is not over
yet, a few rows at a time, so that writers hardly wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Q, QuerySet

from tracking import conf, partitions, rollups
from tracking.models import DetectionRun, LoginAttempt, ReadPosition, RequestLog, SuspiciousIP
from tracking.partitions import Stretch

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 60.0  # of one call; what is left is for the next one
LOGIN_DAYS = 30  # at least: so long does a login speak for its address (guard.KNOWN_FOR)
BATCH_ROWS, FEWEST_ROWS = 1000, 100  # of one transaction
LONGEST_BATCH = 0.05  # seconds; after a longer transaction the next one is half as large
PARTS = 10  # as many partitions hold what is kept, or so
PATIENCE, PAUSE = timedelta(seconds=0.1), 0.5  # where others keep a partition from being dropped
DAY = timedelta(days=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays: the rows recorded since a moment, of these the ones from a number on."""

    since: datetime = NEVER
    number: int = 0

    def holds_none(self, stretch: Stretch) -> bool:
        return stretch.ended < self.since or stretch.last < self.number

    def others(self) -> Q:
        return Q(recorded_at__lt=self.since) | Q(pk__lt=self.number)


def forget(now: datetime, seconds: float = LONGEST_SECONDS) -> int:
    """Delete the requests beyond LOG_RETENTION_DAYS before `now` or LOG_MAX_ROWS; return how many.

    Stops after `seconds`; the next call goes on. Attempts to log in go by the same days, but not
    before LOGIN_DAYS; so do reports of detection, and confirmed suspicions once their review is
    as old. 0 days keep everything, and so do 0 rows. Raises DatabaseError.
    """
    batches = Batches(time.monotonic() + seconds)
    if days := conf.current().log_retention_days:
        _forget_others(now, days, batches)
    if days or conf.current().log_max_rows:
        return _forget_requests(now, batches)
    return 0


def renew(now: datetime) -> None:
    """Let a new partition begin where it is time for that, about ten for all that is kept."""
    days, most_rows = conf.current().log_retention_days, conf.current().log_max_rows
    longest = max(DAY, timedelta(days=days) / PARTS) if days else None
    part = max(most_rows // PARTS, BATCH_ROWS) if most_rows else partitions.WIDTH
    partitions.renew(longest, part, now)


class Batches:
    """Deletes rows, so many in a transaction that it takes about LONGEST_BATCH, until a moment."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.size = BATCH_ROWS

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._deadline

    def delete(self, rows: QuerySet[Any]) -> int:
        """Delete the rows, which are at most `size`; hours of requests are counted anew."""
        begun = time.monotonic()
        with transaction.atomic():
            if rows.model is RequestLog:
                rollups.mark(rows)
            deleted, _ = rows.delete()
        took = time.monotonic() - begun
        if took > LONGEST_BATCH:
            self.size = max(self.size // 2, FEWEST_ROWS)
        elif took < LONGEST_BATCH / 4:
            self.size = min(self.size * 2, BATCH_ROWS)
        return deleted


def kept(now: datetime, stretches: Sequence[Stretch], tolerance: float = 0.0) -> Kept:
    """Return what the settings let stay, or with a tolerance so much more of the days and rows.

    Numbers that no row has any more count as rows, so never more rows than the setting says stay.
    """
    days, most_rows = conf.current().log_retention_days, conf.current().log_max_rows
    left = round(most_rows * (1 + tolerance))
    number = 0
    for stretch in reversed(stretches if most_rows else ()):
        if stretch.most_rows >= left:
            number = stretch.last + 1 - left
            break
        left -= stretch.most_rows
    span = timedelta(days=days)
    return Kept(now - span - max(DAY, span) * tolerance if days else NEVER, number)


def _forget_others(now: datetime, days: int, batches: Batches) -> None:
    moment = now - timedelta(days=days)
    # Left by nodes that are gone. While its rows are kept, a segment must not be read again.
    journals = ReadPosition.objects.exclude(name__startswith="log:")
    journals.filter(updated_at__lt=moment).delete()
    logins = now - timedelta(days=max(days, LOGIN_DAYS))
    # What is open waits for a person; what is false or does not matter stays as an exception.
    settled = SuspiciousIP.objects.filter(status=SuspiciousIP.Status.CONFIRMED)
    for rows in (
        LoginAttempt.objects.filter(at__lt=logins),
        DetectionRun.objects.filter(started_at__lt=moment),
        settled.filter(last_seen__lt=moment, reviewed_at__lt=moment),
    ):
        while not batches.is_over and (old := rows.values_list("pk", flat=True)[: batches.size]):
            batches.delete(rows.model.objects.filter(pk__in=list(old)))


def _forget_requests(now: datetime, batches: Batches) -> int:
    stretches = partitions.stretches()
    whole, deleted = kept(now, stretches), 0
    # A partition that is soon over is waited for; a small one is not worth that.
    parts = kept(now, stretches, 1 / PARTS)
    for stretch in stretches:
        if batches.is_over:
            break
        if stretch.table and stretch is not stretches[-1] and whole.holds_none(stretch):
            deleted += _drop(stretch, batches)
            continue
        is_small = not stretch.table or stretch.most_rows <= partitions.FEW
        deleted += _forget_rows(stretch, whole if is_small else parts, now, batches)
    return deleted


def _drop(stretch: Stretch, batches: Batches) -> int:
    """Drop a partition once nobody uses the log for a moment; return how many rows it had."""
    rows = RequestLog.objects.filter(pk__gte=stretch.first, pk__lte=stretch.last)
    number, hours = rows.count(), rollups.hours(rows)
    while not batches.is_over:
        try:
            with transaction.atomic():
                rollups.mark_hours(hours)
                partitions.drop(stretch.table, PATIENCE)
        except OperationalError as error:
            logger.info("%s is not dropped yet: %s", stretch.table, error)
            time.sleep(PAUSE)
        else:
            logger.info("%s is dropped, with %d requests", stretch.table, number)
            return number
    logger.warning("%s could not be dropped: somebody uses the log all the time", stretch.table)
    return 0


def _forget_rows(stretch: Stretch, kept: Kept, now: datetime, batches: Batches) -> int:
    """Delete from the oldest row on, up to a batch in which everything is still to be kept.

    Rows from the future tell of a clock that was wrong for a while; what stands behind them is
    looked at too.
    """
    deleted, last = 0, stretch.first - 1
    while not batches.is_over:
        rows = RequestLog.objects.filter(pk__gt=last, pk__lte=stretch.last).order_by("pk")
        batch = list(rows.values_list("pk", "recorded_at")[: batches.size])
        if not batch:
            break
        first, last = batch[0][0], batch[-1][0]
        if any(moment < kept.since or number < kept.number for number, moment in batch):
            together = RequestLog.objects.filter(pk__gte=first, pk__lte=last)
            deleted += batches.delete(together.filter(kept.others()))
        elif any(moment <= now for _, moment in batch):
            break
    return deleted
