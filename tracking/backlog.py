"""What detection has not looked at yet, and whether it keeps up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tracking.models import WATERMARK, Counter, DetectionRun, RequestLog

EVERY = timedelta(minutes=1)  # tracking.tasks.detect
LATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far detection has come.

    `next_run_at` is the full minute after the last run, which is past when none came then; None
    before the first. `waiting_since` is when the oldest row that no run has looked at came into
    the record; None when there is none. `is_late`: rows wait, and no run came for LATE.
    """

    last_run: DetectionRun | None
    next_run_at: datetime | None
    waiting_since: datetime | None
    is_late: bool


def of(now: datetime) -> Backlog:
    """Return how far detection has come, in three reads of an index."""
    mark = Counter.objects.filter(name=WATERMARK).values_list("value", flat=True).first() or 0
    waiting = RequestLog.objects.filter(pk__gt=mark).order_by("pk")
    since = waiting.values_list("recorded_at", flat=True).first()
    last = DetectionRun.objects.order_by("-started_at", "-pk").first()
    at, next_run_at = since, None
    if last is not None:
        ended = last.started_at + timedelta(milliseconds=last.duration_ms)
        next_run_at = ended.replace(second=0, microsecond=0) + EVERY
        at = max(since, ended) if since is not None else None
    return Backlog(last, next_run_at, since, is_late=at is not None and now - at > LATE)
