"""The book of rules: who is let in and who is not, those that are over included."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import strawberry
from django.db.models import F, QuerySet
from django.utils import timezone
from strawberry import relay
from strawberry.types import Info

from schema.connections import After, Before, Connection, First, Last, connect
from schema.filters import containing, searchable
from schema.ids import write_id
from schema.keyset import stated
from schema.permissions import require
from schema.scalars import IPAddress, IPNetwork
from tracking.engine.address import network_of, parse_address, parse_network
from tracking.engine.rules import RuleAction as Action
from tracking.engine.targets import RuleKind as Kind
from tracking.models import AccessRule as Row
from tracking.models import AccessRuleQuerySet

PERMISSION = "tracking.view_accessrule"
NARROW = "narrow the filter, best with `active`, `address` or `network`"
LARGEST_INT = 2**31 - 1  # of GraphQL's Int
Origin = Row.Origin


@strawberry.enum(description="What a rule is about.")
class RuleKind(enum.Enum):
    ADDRESS = strawberry.enum_value(Kind.ADDRESS.value, description="One address.")
    NETWORK = strawberry.enum_value(Kind.NETWORK.value, description="Every address of a network.")
    COUNTRY = strawberry.enum_value(
        Kind.COUNTRY.value, description="Every public address of a country, or of any (`*`)."
    )
    ASN = strawberry.enum_value(
        Kind.ASN.value, description="Every public address of an autonomous system."
    )


@strawberry.enum(description="What a rule does with the requests it matches.")
class RuleAction(enum.Enum):
    BLOCK = strawberry.enum_value(Action.BLOCK.value, description="It refuses them.")
    ALLOW = strawberry.enum_value(
        Action.ALLOW.value, description="It lets them in, whatever less specific rules say."
    )


@strawberry.enum(description="How a rule came into the book.")
class RuleOrigin(enum.Enum):
    MANUAL = strawberry.enum_value(Origin.MANUAL.value, description="A person made it.")
    AUTOMATIC = strawberry.enum_value(Origin.AUTOMATIC.value, description="A detector made it.")
    IMPORT = strawberry.enum_value(Origin.IMPORT.value, description="It came from a file.")


@strawberry.type(description="One rule of the book, in force or over.")
class AccessRule(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    target: str = strawberry.field(
        description="Whom it is about: 192.0.2.1, 192.0.2.0/24, DE, * for any country, or AS64496."
    )
    kind: RuleKind = strawberry.field(description="What the target is.")
    action: RuleAction = strawberry.field(description="What it does.")
    observed: bool = strawberry.field(
        description="Whether it decides nothing, and is only recorded where it would have."
    )
    path: str = strawberry.field(
        description="Only paths that begin so are meant; empty for every path."
    )
    methods: list[str] = strawberry.field(
        description="Only these HTTP methods are meant, where GET includes HEAD; empty for all."
    )
    reason: str = strawberry.field(description="Why, as its maker says; may be empty.")
    origin: RuleOrigin = strawberry.field(description="How it came into the book.")
    created_by: str | None = strawberry.field(
        description="Who made it: a user's name at the time, a detector, or the command line."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(
        description="When it ends by itself; null for not before it is lifted."
    )
    ended_at: datetime | None = strawberry.field(
        description="When it was lifted, or when its expiry was noted; null before."
    )
    active: bool = strawberry.field(
        description="Whether it is in force: neither lifted nor expired."
    )
    hits: int = strawberry.field(
        description="How many requests it decided, or would have where it is observed; 2147483647"
        " stands for that or more."
    )
    last_hit_at: datetime | None = strawberry.field(
        description="When the last of these requests came; null for none."
    )

    @classmethod
    def of(cls, row: Row) -> AccessRule:
        return cls(
            pk=row.pk,
            _id=strawberry.ID(write_id("AccessRule", row.pk)),
            target=row.target,
            kind=RuleKind(row.kind),
            action=RuleAction(row.action),
            observed=row.observed,
            path=row.path,
            methods=list(row.methods),
            reason=row.reason,
            origin=RuleOrigin(row.origin),
            created_by=row.created_by or None,
            created_at=row.created_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
            active=row.is_live(timezone.now()),
            hits=min(row.hits, LARGEST_INT),
            last_hit_at=row.last_hit_at,
        )


class RuleBatch:
    """The rules of a page of requests: asked for together, when the first of them is."""

    def __init__(self, pks: Iterable[int | None]) -> None:
        self._pks = {pk for pk in pks if pk is not None}
        self._found: dict[int, AccessRule] | None = None

    def get(self, info: Info, pk: int | None) -> AccessRule | None:
        """Return a rule of the batch; None for no rule. Raises Refusal without the permission."""
        require(info, PERMISSION)
        if pk is None:
            return None
        if self._found is None:
            self._found = _nodes(self._pks)
        return self._found.get(pk)


@strawberry.input(description="Which rules: all of its fields must hold.")
class AccessRuleFilter:
    target: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The rules on exactly this, written as `target` shows it.",
    )
    address: IPAddress | None = strawberry.field(
        default=strawberry.UNSET,
        description="The rules on this address, or on a network that holds it.",
    )
    network: IPNetwork | None = strawberry.field(
        default=strawberry.UNSET,
        description="The rules on this network, or on a part or an address of it.",
    )
    kind: list[RuleKind] | None = strawberry.field(
        default=strawberry.UNSET, description="What the target is, is one of these."
    )
    action: list[RuleAction] | None = strawberry.field(
        default=strawberry.UNSET, description="What it does is one of these."
    )
    origin: list[RuleOrigin] | None = strawberry.field(
        default=strawberry.UNSET, description="How it came into the book is one of these."
    )
    active: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether it is in force."
    )
    observed: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether it is only observed."
    )
    created_by: str | None = strawberry.field(
        default=strawberry.UNSET, description="Who made it, by this name."
    )
    reason: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="This text stands anywhere in its reason; letter case counts.",
    )


@strawberry.type
class RuleQueries:
    @strawberry.field(
        description="The book of rules, the newest first, those that are over included. Needs the"
        f" permission {PERMISSION}."
    )
    def access_rules(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            AccessRuleFilter | None, strawberry.argument(description="Which rules.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[AccessRule] | None:
        require(info, PERMISSION)
        rows = matching(Row.objects.all(), filter or AccessRuleFilter())
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)

    @strawberry.field(
        description="The addresses and networks that are blocked now, the newest first; those that"
        f" are only observed are among them. Needs the permission {PERMISSION}."
    )
    def blocked_ips(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            AccessRuleFilter | None, strawberry.argument(description="Which of them.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[AccessRule] | None:
        require(info, PERMISSION)
        blocked = Row.objects.blocked_ips(timezone.now())
        rows = matching(blocked, filter or AccessRuleFilter())
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)


def matching(rows: AccessRuleQuerySet, asked: AccessRuleFilter) -> QuerySet[Row]:
    """Return those of the rules that fit the filter, with the column `at` that lists go by.

    Raises Refusal BAD_USER_INPUT.
    """
    rows = _about(rows, asked)
    if (active := stated(asked.active)) is not None:
        live = Row.objects.live(timezone.now()).values("pk")
        rows = rows.filter(pk__in=live) if active else rows.exclude(pk__in=live)
    if (observed := stated(asked.observed)) is not None:
        rows = rows.filter(observed=observed)
    if (created_by := stated(asked.created_by)) is not None:
        rows = rows.filter(created_by=searchable(created_by, "createdBy"))
    for column in ("kind", "action", "origin"):
        if (values := stated(getattr(asked, column))) is not None:
            rows = rows.filter((f"{column}__in", [each.value for each in values]))
    if (reason := stated(asked.reason)) is not None:
        rows = rows.filter(containing("reason", reason, "reason"))
    return rows.annotate(at=F("created_at"))


def rules_by_id(info: Info, pks: Iterable[int]) -> dict[int, AccessRule]:
    """Return the rules that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    return _nodes(pks)


def _about(rows: AccessRuleQuerySet, asked: AccessRuleFilter) -> AccessRuleQuerySet:
    if (target := stated(asked.target)) is not None:
        rows = rows.filter(target=searchable(target, "target"))
    if (address := stated(asked.address)) is not None:
        rows = rows.covering(network_of(parse_address(address), 128))
    if (network := stated(asked.network)) is not None:
        rows = rows.inside(parse_network(network))
    return rows


def _nodes(pks: Iterable[int]) -> dict[int, AccessRule]:
    rows = Row.objects.filter(pk__in=list(pks))
    return {row.pk: AccessRule.of(row) for row in rows}
