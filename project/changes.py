"""The thread between accounts and the audit log, which do not know each other."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.http import HttpRequest

from tracking import audit
from tracking.engine.visit import Visit
from users.models import User
from users.signals import account_changed

NOBODY = "anonymous"


@receiver(account_changed, dispatch_uid="project.account_changed")
def put_on_record(
    actor: User | None,
    action: str,
    user: User,
    before: Any,
    after: Any,
    reason: str,
    request: HttpRequest | None = None,
    **_: Any,
) -> None:
    """Write one audit entry of a change of an account."""
    visit: Visit | None = getattr(request, "visit", None)
    address = visit.address if visit is not None else None
    if actor is None:
        who = audit.Actor(NOBODY, address=address)
    else:
        who = audit.Actor(actor.get_username(), str(actor.pk), address)
    audit.record(
        who, action, f"user {user.get_username()}", reason=reason, before=before, after=after
    )
