"""Let go of rows that have been kept long enough, a few at a time.

What counts is when a row was recorded, not when the request was made: an old log that somebody
brings in today is kept as long as what happens today. Rows are recorded in the order of their
keys, so the oldest stand at the beginning and no index is needed to find them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from tracking import conf, rollups
from tracking.models import DetectionRun, LoginAttempt, ReadPosition, RequestLog, SuspiciousIP

LOGIN_DAYS = 30  # at least: so long does a login speak for its address (guard.KNOWN_FOR)
BATCH_ROWS = 2000  # deletes for less than 100 ms at a time, so that writers hardly wait


def forget(now: datetime) -> int:
    """Delete the requests recorded more than LOG_RETENTION_DAYS before `now`; return how many.

    Attempts to log in go by the same days, but not before LOGIN_DAYS; so do reports of detection,
    and confirmed suspicions once their review is as old. 0 days keeps everything.
    """
    days = conf.current().log_retention_days
    if not days:
        return 0
    moment = now - timedelta(days=days)
    # Left by nodes that are gone. While its rows are kept, a segment must not be read again.
    journals = ReadPosition.objects.exclude(name__startswith="log:")
    journals.filter(updated_at__lt=moment).delete()
    logins = now - timedelta(days=max(days, LOGIN_DAYS))
    _delete(LoginAttempt.objects.filter(at__lt=logins))
    _delete(DetectionRun.objects.filter(started_at__lt=moment))
    # What is open waits for a person; what is false or does not matter stays as an exception.
    settled = SuspiciousIP.objects.filter(status=SuspiciousIP.Status.CONFIRMED)
    _delete(settled.filter(last_seen__lt=moment, reviewed_at__lt=moment))
    return _forget_before(moment, now)


def _delete(rows: QuerySet[Any]) -> None:
    while old := list(rows.values_list("pk", flat=True)[:BATCH_ROWS]):
        rows.model.objects.filter(pk__in=old).delete()


def _forget_before(moment: datetime, now: datetime) -> int:
    """Delete from the oldest key on, up to a batch in which everything is still to be kept.

    Rows from the future tell of a clock that was wrong for a while; what stands behind them is
    looked at too.
    """
    deleted, last = 0, 0
    while batch := _behind(last):
        old = [key for key, recorded_at in batch if recorded_at < moment]
        if not old and any(recorded_at <= now for _, recorded_at in batch):
            break
        rows = RequestLog.objects.filter(pk__in=old)
        with transaction.atomic():
            rollups.mark(rows)
            rows.delete()
        deleted += len(old)
        last = batch[-1][0]
    return deleted


def _behind(last: int) -> list[tuple[int, datetime]]:
    rows = RequestLog.objects.filter(pk__gt=last).order_by("pk")
    return list(rows.values_list("pk", "recorded_at")[:BATCH_ROWS])
