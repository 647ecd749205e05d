"""Sign up, log in and out, and change the password: the doors to `users.accounts`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from django.contrib.auth import logout
from django.http import HttpRequest
from strawberry.types import Info

from schema.accounts import User
from schema.errors import UserError, account_error
from schema.limiting import Limited, user_error
from schema.permissions import signed_in
from tracking import guard
from users import accounts
from users.accounts import AccountError
from users.middleware import session_of


@strawberry.input(description="A new account.")
class SignupInput:
    username: str = strawberry.field(
        description="At most 150 letters, digits and @ . + - _; names that differ in letter case or"
        " Unicode form alone are the same."
    )
    password: str = strawberry.field(
        description="8 to 1,024 characters of any kind, neither common nor like the name."
    )
    email: str | None = strawberry.field(
        default=strawberry.UNSET, description="Shown to nobody else, and nobody logs in by it."
    )


@strawberry.type(description="What became of signup. It logs nobody in.")
class SignupPayload:
    user: User | None = strawberry.field(
        default=None, description="The new account; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.input(description="Who logs in.")
class LoginInput:
    username: str = strawberry.field(description="The account's name, in any letter case.")
    password: str = strawberry.field(description="Its password.")


@strawberry.input(description="What is exchanged for new tokens.")
class RefreshTokenInput:
    refresh_token: str = strawberry.field(
        description="The newest refresh token of the session. It is good once: a second use ends"
        " the session, because somebody else has it then."
    )


@strawberry.type(description="What became of login or refreshToken.")
class LoginPayload:
    access_token: str | None = strawberry.field(
        default=None, description="For the header `Authorization: Bearer …`."
    )
    access_token_expires_at: datetime | None = strawberry.field(
        default=None, description="When the access token ends; refreshToken brings a new one."
    )
    refresh_token: str | None = strawberry.field(
        default=None, description="For refreshToken, once. Keep it secret."
    )
    refresh_token_expires_at: datetime | None = strawberry.field(
        default=None, description="When the refresh token ends; then only a login helps."
    )
    user: User | None = strawberry.field(default=None, description="Who is logged in.")
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.input(description="What ends.")
class LogoutInput:
    everywhere: bool = strawberry.field(
        default=False, description="End all sessions of the account that were begun by `login`."
    )


@strawberry.type(description="What became of logout.")
class LogoutPayload:
    sessions_ended: int = strawberry.field(
        description="How many sessions ended of those that were begun by `login`; a browser's"
        " session ends, too, but is not counted."
    )
    errors: list[UserError] = strawberry.field(description="Always empty.")


@strawberry.input(description="The present password, and the one to have instead.")
class ChangePasswordInput:
    old_password: str = strawberry.field(description="The present password.")
    new_password: str = strawberry.field(
        description="8 to 1,024 characters of any kind, neither common nor like the name."
    )


@strawberry.type(description="What became of changePassword.")
class ChangePasswordPayload:
    changed: bool = strawberry.field(
        default=False, description="Whether the new password holds now."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class AuthenticationMutations:
    @strawberry.mutation(
        description="Make an account, which may see itself and nothing else. Log in afterwards.",
        extensions=[Limited("signup", SignupPayload)],
    )
    def signup(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            SignupInput, strawberry.argument(description="Name and password of the account.")
        ],
    ) -> SignupPayload | None:
        try:
            row = accounts.sign_up(
                input.username, input.password, input.email or "", info.context.request
            )
        except AccountError as error:
            return SignupPayload(errors=[account_error(error)])
        return SignupPayload(user=User.of(row, own=True), errors=[])

    @strawberry.mutation(
        description="Begin a session. Each attempt counts, whatever document it stands in; whether"
        " the name or the password was wrong is not told."
    )
    def login(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            LoginInput, strawberry.argument(description="Name and password.")
        ],
    ) -> LoginPayload | None:
        request = info.context.request
        try:
            return _logged_in(accounts.log_in(request, input.username, input.password))
        except AccountError as error:
            return LoginPayload(errors=[_login_error(request, error)])

    @strawberry.mutation(
        description="Exchange a refresh token for a new access token and a new refresh token."
    )
    def refresh_token(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            RefreshTokenInput, strawberry.argument(description="The refresh token.")
        ],
    ) -> LoginPayload | None:
        try:
            return _logged_in(accounts.refresh(input.refresh_token, info.context.request))
        except AccountError as error:
            return LoginPayload(errors=[account_error(error)])

    @strawberry.mutation(
        description="End the session that this request belongs to, at once in every process. Needs"
        " a login."
    )
    def logout(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            LogoutInput | None, strawberry.argument(description="Whether others end as well.")
        ] = strawberry.UNSET,
    ) -> LogoutPayload | None:
        user, request = signed_in(info), info.context.request
        session = session_of(request)
        ended = 0
        if input and input.everywhere:
            ended = accounts.log_out_everywhere(user, request)
        elif session is not None:
            ended = accounts.log_out(session, request)
        if session is None:
            logout(request)  # by a cookie: the browser's session
        return LogoutPayload(sessions_ended=ended, errors=[])

    @strawberry.mutation(
        description="Change one's own password. Every session of the account ends, this one, too:"
        " log in anew. Each attempt counts like one to log in. Needs a login."
    )
    def change_password(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ChangePasswordInput, strawberry.argument(description="The old one and the new one.")
        ],
    ) -> ChangePasswordPayload | None:
        user, request = signed_in(info), info.context.request
        try:
            accounts.change_password(request, user, input.old_password, input.new_password)
        except AccountError as error:
            return ChangePasswordPayload(errors=[_login_error(request, error)])
        return ChangePasswordPayload(changed=True, errors=[])


def _logged_in(issued: accounts.Tokens) -> LoginPayload:
    return LoginPayload(
        access_token=issued.access.text,
        access_token_expires_at=issued.access.expires_at,
        refresh_token=issued.refresh,
        refresh_token_expires_at=issued.refresh_expires_at,
        user=User.of(issued.session.user, own=True),
        errors=[],
    )


def _login_error(request: HttpRequest, error: AccountError) -> UserError:
    """Return why a password was not taken.

    What the limits said is asked for after each attempt: left to LimitMiddleware it would become
    the answer to the whole document, whatever else that did.
    """
    verdict = guard.take_login_verdict(request)
    return user_error(verdict) if verdict.refused else account_error(error)
