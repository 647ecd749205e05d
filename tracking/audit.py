"""Put administrative changes on record: who, when, from where, why, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from tracking.engine.address import IPAddress
from tracking.engine.text import printable
from tracking.models import AccessRule, AuditEntry


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


def record(actor: Actor, action: str, target: str, **facts: Any) -> AuditEntry:
    """Write one entry; call it in the transaction of the change, so that neither stands alone.

    `facts` are those of `entry`.
    """
    written = entry(actor, action, target, **facts)
    written.save(force_insert=True)
    return written


def record_many(entries: Sequence[AuditEntry]) -> None:
    """Do the same for entries that have been made."""
    AuditEntry.objects.bulk_create(entries, batch_size=1000)


def entry(
    actor: Actor,
    action: str,
    target: str,
    *,
    reason: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """Return an entry that is not written yet."""
    return AuditEntry(
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


def facts(row: AccessRule) -> dict[str, Any]:
    """Return a rule as the audit log shows it."""
    return {
        "rule": row.pk,
        "kind": row.kind,
        "target": row.target,
        "action": row.action,
        "observed": row.observed,
        "path": row.path,
        "methods": list(row.methods),
        "origin": row.origin,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
    }
