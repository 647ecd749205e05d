"""Periodic work of the Huey worker for the service, beside that of `tracking.tasks`."""

from __future__ import annotations

from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from users import retention


@db_periodic_task(crontab(minute="43", hour="3"))
def forget_old_sessions() -> None:
    retention.forget(timezone.now())
