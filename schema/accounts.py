"""Accounts: one's own, and for staff those of others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import strawberry
from django.db.models import F
from strawberry import relay
from strawberry.types import Info

from schema.connections import After, Before, Connection, First, Last, connect
from schema.errors import ErrorCode, InputError, UserError, account_error
from schema.ids import read_id_of, write_id
from schema.keyset import stated
from schema.permissions import actor, require, signed_in
from tracking import resets
from users import accounts
from users.models import User as Row
from users.models import canonical_username

VIEW_PERMISSION = "users.view_user"
CHANGE_PERMISSION = "users.change_user"
RESET_PERMISSION = "tracking.reset_limit"
LOGIN_LIMIT = "login_account"
NARROW = "ask for a smaller page with `first`"


@strawberry.type(description="An account.")
class User(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    username: str = strawberry.field(description="The name to log in with, in any letter case.")
    email: str | None = strawberry.field(
        description="The e-mail address of one's own account; null for those of others, and where"
        " there is none."
    )
    is_active: bool = strawberry.field(description="Whether the account may log in.")
    is_staff: bool = strawberry.field(description="Whether it may enter the admin.")
    date_joined: datetime = strawberry.field(description="When the account was made.")
    last_login: datetime | None = strawberry.field(
        description="When somebody last logged in to it; null for never."
    )
    row: strawberry.Private[Row]

    @strawberry.field(
        description="The names of its groups, such as viewer, analyst, administrator."
    )
    def roles(self) -> list[str]:
        return sorted(group.name for group in self.row.groups.all())

    @classmethod
    def of(cls, row: Row, *, own: bool) -> User:
        """Return an account as its owner sees it (`own`), or as others do."""
        return cls(
            pk=row.pk,
            _id=strawberry.ID(write_id("User", row.pk)),
            username=row.get_username(),
            email=(row.email or None) if own else None,
            is_active=row.is_active,
            is_staff=row.is_staff,
            date_joined=row.date_joined,
            last_login=row.last_login,
            row=row,
        )


@strawberry.input(description="Which accounts: all of its fields must hold.")
class UserFilter:
    username: str | None = strawberry.field(
        default=strawberry.UNSET, description="The account of this name, in any spelling."
    )
    is_active: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether the account may log in."
    )


@strawberry.type
class AccountQueries:
    @strawberry.field(description="One's own account. Needs a login and no permission.")
    def me(self, info: Info) -> User | None:
        return User.of(signed_in(info), own=True)

    @strawberry.field(
        description=f"All accounts, the newest first. Needs the permission {VIEW_PERMISSION}."
    )
    def users(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            UserFilter | None, strawberry.argument(description="Which accounts.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[User] | None:
        require(info, VIEW_PERMISSION)
        rows = Row.objects.annotate(at=F("date_joined"))
        asked = filter or UserFilter()
        if (is_active := stated(asked.is_active)) is not None:
            rows = rows.filter(is_active=is_active)
        if (username := stated(asked.username)) is not None:
            rows = (
                rows.filter(canonical=canonical_username(username))
                if _is_name(username)
                else rows.none()
            )
        return connect(
            info, rows, (first, after, last, before), lambda pks: _nodes(info, pks), NARROW
        )


@strawberry.input(description="Which account is to lose its access.")
class DeactivateUserInput:
    id: strawberry.ID = strawberry.field(description="The account's id.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of deactivateUser.")
class DeactivateUserPayload:
    user: User | None = strawberry.field(
        default=None, description="The account; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.input(description="Which account may be logged in to again.")
class UnlockAccountInput:
    username: str = strawberry.field(description="The account's name, in any spelling.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of unlockAccount.")
class UnlockAccountPayload:
    unlocked: bool = strawberry.field(
        default=False, description="Whether attempts to log in to the account count from 0 again."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class AccountMutations:
    @strawberry.mutation(
        description="Take an account its access: its tokens and its browser sessions end at once,"
        " in every process. The last active superuser keeps it, and that of a superuser is taken by"
        f" superusers only. Needs the permission {CHANGE_PERMISSION}."
    )
    def deactivate_user(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            DeactivateUserInput, strawberry.argument(description="Which account, and why.")
        ],
    ) -> DeactivateUserPayload | None:
        require(info, CHANGE_PERMISSION)
        row = Row.objects.filter(pk=read_id_of("User", input.id)).first()
        if row is None:
            return DeactivateUserPayload(errors=[_unknown("id")])
        caller = signed_in(info)
        try:
            accounts.deactivate(caller, row, input.reason, info.context.request)
        except accounts.AccountError as error:
            return DeactivateUserPayload(errors=[account_error(error)])
        row.refresh_from_db()
        return DeactivateUserPayload(user=User.of(row, own=row.pk == caller.pk), errors=[])

    @strawberry.mutation(
        description="Forget the attempts to log in to an account, so that its owner need not wait"
        f" until the limit {LOGIN_LIMIT} lets him in again: at once here, within a second in every"
        f" other process. Needs the permission {RESET_PERMISSION}, as resetRateLimit does."
    )
    def unlock_account(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            UnlockAccountInput, strawberry.argument(description="Which account, and why.")
        ],
    ) -> UnlockAccountPayload | None:
        require(info, RESET_PERMISSION)
        try:
            row = Row.objects.get_by_natural_key(input.username)
        except Row.DoesNotExist:
            return UnlockAccountPayload(errors=[_unknown("username")])
        try:
            resets.reset(actor(info), LOGIN_LIMIT, username=row.username, reason=input.reason)
        except resets.CannotResetError as error:  # the settings let this limit count addresses
            wrong = InputError(code=ErrorCode.INVALID_INPUT, message=str(error))
            return UnlockAccountPayload(errors=[wrong])
        return UnlockAccountPayload(unlocked=True, errors=[])


def users_by_id(info: Info, pks: Iterable[int]) -> dict[int, User]:
    """Return the accounts that exist among the primary keys.

    They need the list's permission, except for one's own account.
    """
    wanted = set(pks)
    if wanted != {signed_in(info).pk}:
        require(info, VIEW_PERMISSION)
    return _nodes(info, wanted)


def _nodes(info: Info, pks: Iterable[int]) -> dict[int, User]:
    own = signed_in(info).pk
    rows = Row.objects.filter(pk__in=list(pks)).prefetch_related("groups")
    return {row.pk: User.of(row, own=row.pk == own) for row in rows}


def _unknown(argument: str) -> InputError:
    return InputError(
        code=ErrorCode.NOT_FOUND, message="There is no such account.", path=["input", argument]
    )


def _is_name(text: str) -> bool:
    """Tell whether a name can be looked up; PostgreSQL cannot even be asked for some texts."""
    return text.isprintable()
