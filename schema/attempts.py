"""Attempts to log in, through whatever door."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import relay
from strawberry.types import Info

from schema.connections import After, Before, Connection, First, Last, connect
from schema.filters import DateTimeRange, searchable
from schema.ids import write_id
from schema.keyset import stated
from schema.permissions import require
from schema.scalars import IPAddress
from tracking import ipstorage
from tracking.engine.address import parse_address
from tracking.models import LoginAttempt as Row
from tracking.models import LoginAttemptQuerySet

PERMISSION = "tracking.view_loginattempt"
NARROW = "narrow the filter, best with `at` or `account`"


@strawberry.enum(description="What became of an attempt to log in.")
class LoginOutcome(enum.Enum):
    SUCCEEDED = strawberry.enum_value("SUCCEEDED", description="Somebody was logged in.")
    FAILED = strawberry.enum_value("FAILED", description="The name or the password was wrong.")
    LIMITED = strawberry.enum_value(
        "LIMITED", description="It was one too many; the password was not looked at."
    )


@strawberry.type(description="One attempt to log in, by whatever door.")
class LoginAttempt(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    at: datetime = strawberry.field(description="When it was made.")
    address: IPAddress = strawberry.field(description="The client's address.")
    account: str = strawberry.field(
        description="The name as it was typed, cut and escaped, whether there is such an account or"
        " not; after a success the account's own name."
    )
    outcome: LoginOutcome = strawberry.field(description="What became of it.")
    door: str = strawberry.field(description="The path it came by, or unknown.")

    @classmethod
    def of(cls, row: Row) -> LoginAttempt:
        return cls(
            pk=row.pk,
            _id=strawberry.ID(write_id("LoginAttempt", row.pk)),
            at=row.at,
            address=IPAddress(str(row.address)),
            account=row.account,
            outcome=LoginOutcome(row.outcome),
            door=row.door,
        )


@strawberry.input(description="Which attempts: all of its fields must hold.")
class LoginAttemptFilter:
    at: DateTimeRange | None = strawberry.field(
        default=strawberry.UNSET, description="When the attempt was made."
    )
    account: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The name as it was typed, letter case included, or that name in lower case.",
    )
    address: IPAddress | None = strawberry.field(
        default=strawberry.UNSET, description="The client's address."
    )
    outcome: list[LoginOutcome] | None = strawberry.field(
        default=strawberry.UNSET, description="What became of it is one of these."
    )


@strawberry.type
class LoginAttemptQueries:
    @strawberry.field(
        description=f"Attempts to log in, newest first. Needs the permission {PERMISSION}."
    )
    def login_attempts(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            LoginAttemptFilter | None, strawberry.argument(description="Which attempts.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[LoginAttempt] | None:
        require(info, PERMISSION)
        rows = matching(filter or LoginAttemptFilter())
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)


def matching(asked: LoginAttemptFilter) -> LoginAttemptQuerySet:
    """Return the attempts that fit the filter; raises Refusal BAD_USER_INPUT."""
    rows = Row.objects.all()
    if (account := stated(asked.account)) is not None:
        rows = rows.to_account(searchable(account, "account"))
    if (address := stated(asked.address)) is not None:
        rows = rows.filter(ipstorage.at(parse_address(address)))
    if (outcome := stated(asked.outcome)) is not None:
        rows = rows.filter(outcome__in=[each.value for each in outcome])
    if asked.at and asked.at.gte:
        rows = rows.filter(at__gte=asked.at.gte)
    if asked.at and asked.at.lt:
        rows = rows.filter(at__lt=asked.at.lt)
    return rows


def attempts_by_id(info: Info, pks: Iterable[int]) -> dict[int, LoginAttempt]:
    """Return the attempts that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    return _nodes(pks)


def _nodes(pks: Iterable[int]) -> dict[int, LoginAttempt]:
    rows = Row.objects.filter(pk__in=list(pks))
    return {row.pk: LoginAttempt.of(row) for row in rows}
