"""Periodic work of the Huey worker (`manage.py run_huey`). Each task may run twice or be lost."""

from __future__ import annotations

import logging
import platform
import threading
import time
from datetime import timedelta
from zlib import crc32

from django.db import DatabaseError
from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import close_db, db_periodic_task, db_task, on_startup

from tracking import (
    alerts,
    anonymization,
    blocklist,
    conf,
    detection,
    digest,
    download,
    drainer,
    geoupdate,
    peers,
    retention,
    rollups,
    signals,
)
from tracking.health import HEARTBEAT
from tracking.models import Counter

logger = logging.getLogger(__name__)

# When sources of places are asked: not all nodes of the world at once.
_MINUTE, _HOUR = (
    str(crc32(platform.node().encode()) // part % of) for part, of in ((1, 60), (60, 24))
)
# What is wanted at once is done each minute anyway: later nobody need do it. So nothing piles up
# while the worker is away, or slower than those who wake it.
STALE = timedelta(seconds=20)
_woken_until = 0.0  # on the monotonic clock
_delivering = threading.Lock()
_counting = threading.Lock()


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


@db_periodic_task(crontab())
def detect() -> None:
    """Look for suspicious addresses in what is new; see tracking.detection."""
    _detect("every minute")


@db_task(expires=STALE)
def detect_now(key: str) -> None:
    """Do the same at once, since one client sends so much that a minute is long."""
    _detect(f"many requests of {key}")


@db_periodic_task(crontab())
def close_expired_rules() -> None:
    blocklist.close_expired(timezone.now())


@db_periodic_task(crontab())
def count_hours() -> None:
    """Keep the counts by the hour fresh; see tracking.rollups."""
    # An hour of very many requests may take minutes: detection needs the worker's other thread.
    if _counting.acquire(blocking=False):
        try:
            rollups.renew()
        finally:
            _counting.release()


@db_periodic_task(crontab(minute="*/10"))
def forget_old_requests() -> None:
    """Keep the record as long and as large as the settings say; see tracking.retention."""
    now = timezone.now()
    try:
        retention.renew(now)
    except DatabaseError as error:  # a role that may not: rows can go one by one nevertheless
        logger.error("Partitions of the request log: %s", str(error).strip())
    retention.forget(now)


@db_periodic_task(crontab(minute="37"))
def anonymize_old_rows() -> None:
    """Take out of old rows what leads to a person; see tracking.anonymization."""
    anonymization.anonymize(timezone.now())


@db_periodic_task(crontab(minute=_MINUTE, hour=_HOUR))
def update_places() -> None:
    """Fetch newer databases of places, a week after the last time; see tracking.geoupdate."""
    try:
        outcomes = geoupdate.update_weekly()
    except download.RefusedError as error:
        logger.warning("Places: %s", error)
        return
    for outcome in outcomes:
        bad = outcome.state in {"failed", "unreachable"}
        level = logging.WARNING if bad else logging.INFO
        logger.log(level, "Places, %s: %s. %s", outcome.edition, outcome.state, outcome.message)


@db_periodic_task(crontab(minute="*/10"))
def look_at_proxies() -> None:
    """Tell in the log, each time anew, that a proxy seems to be undeclared."""
    if problem := peers.problem(timezone.now()):
        logger.warning("%s", problem)


@db_periodic_task(crontab())
def deliver_alerts() -> None:
    """Tell webhooks of what they do not know yet, and try again what failed."""
    _deliver()


@db_periodic_task(crontab())
def mail_alerts() -> None:
    """Mail what is waiting, if it is time."""
    digest.send(timezone.now())


@db_task(expires=STALE)
def deliver_alerts_now() -> None:
    _deliver()


@db_task(expires=STALE)
def mail_alerts_now() -> None:
    digest.send(timezone.now())


@db_periodic_task(crontab(minute="23", hour="3"))
def forget_old_alerts() -> None:
    alerts.forget(timezone.now())


def wake_for_alerts(**_: object) -> None:
    """Queue a delivery, one for all that is written within half a second."""
    global _woken_until
    if time.monotonic() >= _woken_until:
        _woken_until = time.monotonic() + 0.5
        if conf.current().alert_webhooks:
            deliver_alerts_now.schedule(delay=1)
        if conf.current().alert_emails:
            mail_alerts_now.schedule(delay=1)


def wake(key: str, delay: float = 0.0, **_: object) -> None:
    """Queue a run; sent by the recorder, in whatever process moves the rows."""
    if delay:
        detect_now.schedule((key,), delay=delay)
    else:
        detect_now(key)


def _detect(trigger: str) -> None:
    try:
        detection.run_to_end(timezone.now(), trigger)
    except (detection.AlreadyRunning, detection.Outrun):
        logger.info("Another process is looking for suspicious addresses already")


def _deliver() -> None:
    # An endpoint that hangs may keep one of the worker's threads waiting, not all of them. Huey's
    # own locks do not end with a process that dies, not with every storage.
    if _delivering.acquire(blocking=False):
        try:
            alerts.deliver(timezone.now())
        finally:
            _delivering.release()


signals.threshold_crossed.connect(wake)
signals.alerts_waiting.connect(wake_for_alerts)


@on_startup("heartbeat")
@close_db
def first_beat() -> None:
    """Say at once that a worker has come, not only at the next full minute."""
    beat.call_local()
