"""The thread between accounts and the audit log, which do not know each other."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from tracking import audit
from users.models import User
from users.signals import account_changed

NOBODY = audit.Actor("anonymous")


@receiver(account_changed, dispatch_uid="project.account_changed")
def put_on_record(
    actor: User | None, action: str, user: User, before: Any, after: Any, reason: str, **_: Any
) -> None:
    """Write one audit entry of a change of an account."""
    who = NOBODY if actor is None else audit.Actor(actor.get_username(), str(actor.pk))
    audit.record(
        who, action, f"user {user.get_username()}", reason=reason, before=before, after=after
    )
