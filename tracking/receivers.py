"""Put attempts to log in on record, whichever door they came through: Django's signals tell."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db import DatabaseError, transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from tracking import guard, ipstorage
from tracking.engine.forwarding import UNKNOWN
from tracking.engine.text import account_name, printable
from tracking.models import LoginAttempt

Outcome = LoginAttempt.Outcome
logger = logging.getLogger(__name__)


@receiver(user_logged_in, dispatch_uid="tracking.logged_in")
def logged_in(request: HttpRequest | None, user: Any, **_: Any) -> None:
    _record(request, user.get_username(), Outcome.SUCCEEDED)


@receiver(user_login_failed, dispatch_uid="tracking.login_failed")
def login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    typed = credentials.get("username", credentials.get(get_user_model().USERNAME_FIELD))
    limited = request is not None and guard.visit_of(request).login.refused
    _record(request, typed or "", Outcome.LIMITED if limited else Outcome.FAILED)


def _record(request: HttpRequest | None, account: object, outcome: Outcome) -> None:
    """Write one row. A database that does not take it fails no login."""
    try:
        address = UNKNOWN if request is None else guard.visit_of(request).address
        with transaction.atomic():
            LoginAttempt.objects.create(
                at=timezone.now(),
                address=ipstorage.stored(address),
                account=account_name(str(account)),
                outcome=outcome,
                door=printable(getattr(request, "path", ""), 255) or "unknown",
            )
    except DatabaseError:
        logger.exception("An attempt to log in could not be recorded")
