"""Periodic work of the Huey worker (`manage.py run_huey`). Each task may run twice or be lost."""

from __future__ import annotations

import logging

from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import close_db, db_periodic_task, on_startup

from tracking import blocklist, drainer, peers, retention
from tracking.models import Counter

logger = logging.getLogger(__name__)

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


@db_periodic_task(crontab())
def close_expired_rules() -> None:
    """Note the end of rules that have expired, so that processes forget them."""
    blocklist.close_expired(timezone.now())


@db_periodic_task(crontab(minute="*/10"))
def look_at_proxies() -> None:
    """Tell in the log, each time anew, that a proxy seems to be undeclared."""
    if problem := peers.problem(timezone.now()):
        logger.warning("%s", problem)


@on_startup("heartbeat")
@close_db
def first_beat() -> None:
    """Say at once that a worker has come, not only at the next full minute."""
    beat.call_local()
