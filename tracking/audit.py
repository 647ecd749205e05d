"""Put administrative changes on record: who, when, from where, why, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from tracking.engine.address import IPAddress
from tracking.engine.text import printable
from tracking.models import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: a user's name and key and the address he comes from, or a command.

    A superuser may do what others may not even with force.
    """

    name: str
    pk: str = ""
    address: IPAddress | None = None
    is_superuser: bool = False


COMMAND_LINE = Actor("command line", is_superuser=True)


def record(
    actor: Actor,
    action: str,
    target: str,
    *,
    reason: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """Write one entry; call it in the transaction of the change, so that neither stands alone."""
    return AuditEntry.objects.create(
        at=timezone.now(),
        actor=printable(actor.name, 255),
        actor_pk=actor.pk[:64],
        address=actor.address,
        action=action,
        target=printable(target, 255),
        reason=printable(reason, 500),
        before=before,
        after=after,
    )
