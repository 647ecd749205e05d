"""Periodic work of the Huey worker (`manage.py run_huey`). Each task may run twice or be lost."""

from __future__ import annotations

from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import close_db, db_periodic_task, on_startup

from tracking import drainer, retention
from tracking.models import Counter

HEARTBEAT = "huey.heartbeat"


@db_periodic_task(crontab())
def beat() -> None:
    """Leave a sign of life every minute; `/readyz` looks at its age."""
    Counter.objects.update_or_create(name=HEARTBEAT, defaults={"updated_at": timezone.now()})


@db_periodic_task(crontab())
def drain_journal() -> None:
    """Adopt what dead processes left, and do all the draining where background threads are off."""
    drainer.drain()
    drainer.bound()
    drainer.clear()


@db_periodic_task(crontab(minute="17"))
def forget_old_requests() -> None:
    retention.forget(timezone.now())


@on_startup("heartbeat")
@close_db
def first_beat() -> None:
    """Say at once that a worker has come, not only at the next full minute."""
    beat.call_local()
