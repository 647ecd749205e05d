"""Rate limits: what is left to the caller, and how staff give an address or a user a new start."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.errors import ErrorCode, InputError, UserError
from schema.permissions import actor, require
from schema.scalars import IPAddress
from tracking import guard, resets

RESET_PERMISSION = "tracking.reset_limit"


@strawberry.type(description="How much of a limit is left to the caller.")
class RateLimitState:
    name: str = strawberry.field(description="The name of the limit.")
    policy: str = strawberry.field(
        description="One rate of the limit as it is written in the settings: 5/m or 10/15m."
    )
    limit: int = strawberry.field(description="How often it may be done in one window of time.")
    remaining: int = strawberry.field(description="How often it may still be done in this window.")
    reset_at: datetime = strawberry.field(
        description="When this window ends, and the whole limit is there again."
    )


@strawberry.type
class RateLimitQueries:
    @strawberry.field(
        description="What is left to the caller of each rate of each limit on addresses and users."
        " Asking uses up nothing beyond what this request itself does."
    )
    def rate_limit(self, info: Info) -> list[RateLimitState] | None:
        now = timezone.now().replace(microsecond=0)
        return [
            RateLimitState(
                name=state.limit,
                policy=str(state.rate),
                limit=state.rate.count,
                remaining=state.remaining,
                reset_at=now + timedelta(seconds=state.reset_after),
            )
            for state in guard.limits_of(info.context.request)
        ]


@strawberry.input(description="Whose use of a limit is to be forgotten: an address's or a user's.")
class ResetRateLimitInput:
    limit: str = strawberry.field(description="The name of the limit, as `rateLimit` has it.")
    address: IPAddress | None = strawberry.field(
        default=strawberry.UNSET,
        description="What was counted for this address; of IPv6, for the network around it.",
    )
    username: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="What was counted for this user; by login_account, for this name at the login.",
    )
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="A limit that was reset.")
class RateLimitReset:
    limit: str = strawberry.field(description="The name of the limit.")
    key: str = strawberry.field(
        description="What was counted: address:, user: with the user's number, or account:."
    )
    at: datetime = strawberry.field(description="When it was reset.")


@strawberry.type(description="What became of resetRateLimit.")
class ResetRateLimitPayload:
    reset: RateLimitReset | None = strawberry.field(
        default=None, description="What was reset; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class RateLimitMutations:
    @strawberry.mutation(
        description="Forget what a limit has counted for an address or a user: at once here, within"
        f" a second in every other process. Needs the permission {RESET_PERMISSION}."
    )
    def reset_rate_limit(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ResetRateLimitInput, strawberry.argument(description="Which limit, and whose use.")
        ],
    ) -> ResetRateLimitPayload | None:
        require(info, RESET_PERMISSION)
        try:
            done = resets.reset(
                actor(info),
                input.limit,
                address=input.address or "",
                username=input.username or "",
                reason=input.reason,
            )
        except resets.CannotResetError as error:
            return ResetRateLimitPayload(errors=[input_error(error)])
        reset = RateLimitReset(limit=done.limit, key=done.key, at=done.at)
        return ResetRateLimitPayload(reset=reset, errors=[])


def input_error(error: resets.CannotResetError) -> InputError:
    is_unknown = isinstance(error, resets.UnknownError)
    return InputError(
        code=ErrorCode.NOT_FOUND if is_unknown else ErrorCode.INVALID_INPUT,
        message=str(error),
        path=["input", error.argument],
    )
