"""Let go of rows that have been kept long enough, a few at a time.

What counts is when a row was recorded, not when the request was made: an old log that somebody
brings in today is kept as long as what happens today. Rows are recorded in the order of their
keys, so the oldest stand at the beginning and no index is needed to find them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tracking import conf
from tracking.models import RequestLog

BATCH_ROWS = 2000  # deletes for less than 100 ms at a time, so that writers hardly wait


def forget(now: datetime) -> int:
    """Delete the rows recorded more than LOG_RETENTION_DAYS before `now`; return how many.

    0 days keeps everything.
    """
    days = conf.current().log_retention_days
    return _forget_before(now - timedelta(days=days)) if days else 0


def _forget_before(moment: datetime) -> int:
    deleted = 0
    while batch := _oldest(moment):
        RequestLog.objects.filter(pk__in=batch).delete()
        deleted += len(batch)
    return deleted


def _oldest(moment: datetime) -> list[int]:
    """Return the keys of the first rows, up to the first one that is still to be kept."""
    first = RequestLog.objects.order_by("pk").values_list("pk", "recorded_at")[:BATCH_ROWS]
    return [key for key, recorded_at in first if recorded_at < moment]
