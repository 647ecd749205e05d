"""What keeps a rule from being made or lifted, as the errors of a payload."""

from __future__ import annotations

import strawberry
from strawberry.types import Info

from schema.budget import budget_of
from schema.errors import ErrorCode, InputError, ProtectedTargetError, UserError
from schema.rules import LARGEST_INT, AccessRule
from schema.scalars import IPAddress
from tracking import blastradius, proposals
from tracking.proposals import BlockingError, Proposal


@strawberry.type(description="This would lock out whoever asks for it.")
class WouldLockOutError(UserError):
    address: IPAddress = strawberry.field(description="The address the caller comes from.")


@strawberry.type(description="The target is so wide that only a superuser may do this, with force.")
class TooWideError(UserError):
    recent_addresses: int | None = strawberry.field(
        description=f"From how many addresses requests of the last {blastradius.DAYS} days came"
        " that would have been refused; at least so many. Null where there was no time to look, and"
        " for rules that allow."
    )


@strawberry.type(description="The target is blocked as it is.")
class AlreadyBlockedError(UserError):
    # Nullable like that of NotBlockedError: else no selection could hold both fields.
    rule: AccessRule | None = strawberry.field(description="The rule that blocks it.")


@strawberry.type(description="There is no block on exactly this target.")
class NotBlockedError(UserError):
    rule: AccessRule | None = strawberry.field(
        description="A rule on a wider network that blocks the target all the same; null for none."
    )


GUARD_ERRORS = (WouldLockOutError, TooWideError, AlreadyBlockedError, NotBlockedError)


def user_error(
    info: Info, error: BlockingError, path: list[str], proposal: Proposal | None = None
) -> UserError:
    """Return why a rule was not made, changed or lifted; `path` leads to the target in the input.

    With the proposal, TooWideError tells whom the rule would have hit.
    """
    message = str(error)
    match error:
        case proposals.UnfitError(argument=argument):
            where = path if argument == "target" else [path[0], argument]
            return InputError(code=ErrorCode.INVALID_INPUT, message=message, path=where)
        case proposals.WouldLockOutError(address=address):
            own = IPAddress(str(address))
            return WouldLockOutError(
                code=ErrorCode.WOULD_LOCK_OUT, message=message, path=path, address=own
            )
        case proposals.AlreadyBlockedError(rule=rule):
            held = AccessRule.of(rule)
            return AlreadyBlockedError(
                code=ErrorCode.ALREADY_BLOCKED, message=message, path=path, rule=held
            )
        case proposals.NotBlockedError(rule=wider):
            return NotBlockedError(
                code=ErrorCode.NOT_BLOCKED,
                message=message,
                path=path,
                rule=None if wider is None else AccessRule.of(wider),
            )
        case proposals.TooWideError():
            return TooWideError(
                code=ErrorCode.TOO_WIDE,
                message=message,
                path=path,
                recent_addresses=None if proposal is None else _recent_addresses(info, proposal),
            )
        case _:
            return ProtectedTargetError(code=ErrorCode.PROTECTED_TARGET, message=message, path=path)


def not_allowed(error: BlockingError, path: list[str]) -> InputError:
    """Return that there is no rule which allows the target, so none can be lifted."""
    return InputError(code=ErrorCode.NOT_FOUND, message=str(error), path=path)


def _recent_addresses(info: Info, proposal: Proposal) -> int | None:
    radius = blastradius.of(proposal, budget_of(info))
    return min(radius.addresses, LARGEST_INT) if radius.complete or radius.addresses else None
