"""The audit log: who changed what, when, from where and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import relay
from strawberry.scalars import JSON
from strawberry.types import Info

from schema.connections import After, Before, Connection, First, Last, connect
from schema.filters import DateTimeRange, searchable
from schema.ids import write_id
from schema.keyset import stated
from schema.permissions import require
from schema.scalars import IPAddress
from tracking.models import AuditEntry as Row

PERMISSION = "tracking.view_auditentry"
NARROW = "narrow the filter, best with `at`"


@strawberry.type(description="One administrative change.")
class AuditEntry(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    at: datetime = strawberry.field(description="When it was made.")
    actor: str = strawberry.field(
        description="Who made it: a user's name at the time, anonymous, or the command line."
    )
    address: IPAddress | None = strawberry.field(
        description="From where; null for commands, and where it was not told."
    )
    action: str = strawberry.field(description="What was done, such as reset_limit.")
    target: str = strawberry.field(description="To what.")
    reason: str = strawberry.field(description="Why, as the actor says; may be empty.")
    before: JSON | None = strawberry.field(description="What changed, as it was before.")
    after: JSON | None = strawberry.field(description="What changed, as it is now.")


@strawberry.input(description="Which changes: all of its fields must hold.")
class AuditEntryFilter:
    at: DateTimeRange | None = strawberry.field(
        default=strawberry.UNSET, description="When the change was made."
    )
    actor: str | None = strawberry.field(
        default=strawberry.UNSET, description="Who made it, by this name."
    )
    action: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="What was done is one of these."
    )
    target: str | None = strawberry.field(
        default=strawberry.UNSET, description="To what, in the same words."
    )


@strawberry.type
class AuditQueries:
    @strawberry.field(
        description=f"Administrative changes, newest first. Needs the permission {PERMISSION}."
    )
    def audit_log(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            AuditEntryFilter | None, strawberry.argument(description="Which changes.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[AuditEntry] | None:
        require(info, PERMISSION)
        rows = Row.objects.filter(**_conditions(filter or AuditEntryFilter()))
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)


def _conditions(asked: AuditEntryFilter) -> dict[str, object]:
    """Return the filter as Django writes it; raises Refusal BAD_USER_INPUT."""
    conditions: dict[str, object] = {}
    if asked.at and asked.at.gte:
        conditions["at__gte"] = asked.at.gte
    if asked.at and asked.at.lt:
        conditions["at__lt"] = asked.at.lt
    if (actor := stated(asked.actor)) is not None:
        conditions["actor"] = searchable(actor, "actor")
    if (action := stated(asked.action)) is not None:
        conditions["action__in"] = [searchable(each, "action") for each in action]
    if (target := stated(asked.target)) is not None:
        conditions["target"] = searchable(target, "target")
    return conditions


def entries_by_id(info: Info, pks: Iterable[int]) -> dict[int, AuditEntry]:
    """Return the changes that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    return _nodes(pks)


def _nodes(pks: Iterable[int]) -> dict[int, AuditEntry]:
    return {
        row.pk: AuditEntry(
            pk=row.pk,
            _id=strawberry.ID(write_id("AuditEntry", row.pk)),
            at=row.at,
            actor=row.actor,
            address=IPAddress(str(row.address)) if row.address else None,
            action=row.action,
            target=row.target,
            reason=row.reason,
            before=row.before,
            after=row.after,
        )
        for row in Row.objects.filter(pk__in=list(pks))
    }
