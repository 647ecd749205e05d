"""What is said to a caller who does not get what he asked for.

Top-level errors refuse a field or a whole request. What the caller of a mutation can mend stands in
the `errors` of its payload instead.
"""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

import strawberry
from graphql import GraphQLError

from users.accounts import AccountError

logger = logging.getLogger(__name__)

# Where graphql-core repeats in a message what it was given, which may be a password.
_VARIABLE = re.compile(
    r"(Variable '\$\w+') got invalid value (.*);"
    r" ((?:Expected|Field|Value|Enum|\w+ cannot|\w+:) .*)",
    re.DOTALL,
)
_PATH = re.compile(r".*( at '[\w.\[\]]+')", re.DOTALL)
_LEAF = re.compile(r"(\b\w+ cannot represent [^:]{0,60}): .*", re.DOTALL)
_TOKEN = re.compile(r"^(Syntax Error: .*? (?:Block)?String) .*", re.DOTALL)


class Code(enum.StrEnum):
    """The values of `extensions.code`."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    QUERY_TOO_COSTLY = "QUERY_TOO_COSTLY"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"


class Refusal(GraphQLError):
    """An error the caller is meant to read; anything else that is raised gets masked."""

    def __init__(self, code: Code, message: str, **extensions: object) -> None:
        super().__init__(message, extensions={"code": code.value, **extensions})


def bad_input(message: str) -> Refusal:
    """Return the refusal of an argument; `message` says what to write instead."""
    return Refusal(Code.BAD_USER_INPUT, message)


def readable(
    errors: Iterable[GraphQLError], code: Code, reference: str
) -> Iterator[dict[str, Any]]:
    """Yield the errors as the caller may see them, each with a code.

    `code` is the one for mistakes that GraphQL itself found. What nobody raised on purpose is
    masked and logged under `reference`: the first with its traceback, the others by their number,
    so that a list of a hundred broken rows is not a hundred tracebacks.
    """
    hidden: list[Exception] = []
    for error in errors:
        cause = cause_of(error)
        seen: dict[str, Any] = dict(error.formatted)
        if isinstance(cause, Refusal):
            pass
        elif not is_mistake(error, cause):
            hidden.append(cause)
            seen |= masked(reference)
        elif isinstance(cause, GraphQLError):
            seen["extensions"] = {"code": code.value}
        else:
            seen |= refused_value(error, cause)
        if not error.path:
            seen["message"] = without_values(seen["message"])
        yield seen
    if hidden:
        logger.error(
            "Unexpected error, reference %s, %d in all", reference, len(hidden), exc_info=hidden[0]
        )


def without_values(message: str) -> str:
    """Return the message of a mistake without what was given: front ends log their errors."""
    if variable := _VARIABLE.fullmatch(message):
        name, value, why = variable.groups()
        path = _PATH.fullmatch(value)
        message = f"{name} got an invalid value{path[1] if path else ''}: {why}"
    return _TOKEN.sub(r"\1.", _LEAF.sub(r"\1.", message))


def cause_of(error: GraphQLError) -> Exception:
    """Return what was raised first; graphql-core wraps it on its way up."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def is_mistake(error: GraphQLError, cause: Exception) -> bool:
    """Return whether the caller wrote what is wrong.

    Before execution errors have no path, and graphql-core names the nodes it complains of or
    speaks itself. During execution it names nodes for arguments alone: without them a value of
    our own could not be answered.
    """
    if error.path:
        return isinstance(cause, GraphQLError) and bool(cause.nodes)
    return isinstance(cause, GraphQLError) or bool(error.nodes)


def refused_value(error: GraphQLError, cause: Exception) -> dict[str, Any]:
    """Return the error of a value that its scalar could not read, without Python's own words."""
    return {
        "message": error.message.removesuffix(str(cause)).rstrip(" ;."),
        "extensions": {"code": Code.BAD_USER_INPUT.value},
    }


def masked(reference: str) -> dict[str, Any]:
    """Return what a caller learns of an error that was not meant for him."""
    return {
        "message": f"Something went wrong here. The log says more under {reference}.",
        "extensions": {"code": Code.INTERNAL_SERVER_ERROR.value, "reference": reference},
    }


@strawberry.enum(description="What is wrong with what a mutation was asked to do.")
class ErrorCode(enum.Enum):
    INVALID_CREDENTIALS = strawberry.enum_value(
        "INVALID_CREDENTIALS", description="The user name or the password is wrong."
    )
    USERNAME_TAKEN = strawberry.enum_value(
        "USERNAME_TAKEN", description="Somebody else has this user name."
    )
    INVALID_INPUT = strawberry.enum_value(
        "INVALID_INPUT", description="A value does not fit; the path says which one."
    )
    WEAK_PASSWORD = strawberry.enum_value(
        "WEAK_PASSWORD", description="The password is too easy to guess."
    )
    INVALID_TOKEN = strawberry.enum_value(
        "INVALID_TOKEN", description="The token is not, or no longer, one of this service."
    )
    RATE_LIMITED = strawberry.enum_value(
        "RATE_LIMITED", description="This was done too often; a RateLimitedError says when again."
    )
    WOULD_LOCK_OUT = strawberry.enum_value(
        "WOULD_LOCK_OUT", description="This would lock out whoever asks for it."
    )
    PROTECTED_TARGET = strawberry.enum_value(
        "PROTECTED_TARGET", description="The target is never to be blocked, or keeps its access."
    )
    TOO_WIDE = strawberry.enum_value("TOO_WIDE", description="The target has too many addresses.")
    ALREADY_BLOCKED = strawberry.enum_value(
        "ALREADY_BLOCKED", description="The target is blocked as it is."
    )
    NOT_BLOCKED = strawberry.enum_value("NOT_BLOCKED", description="The target is not blocked.")
    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="There is no such thing.")
    ALREADY_RUNNING = strawberry.enum_value(
        "ALREADY_RUNNING", description="Somebody else is doing the same at this moment."
    )
    SIGNUP_CLOSED = strawberry.enum_value(
        "SIGNUP_CLOSED", description="Accounts are made by administrators only."
    )


@strawberry.interface(description="Why a mutation did not do what it was asked, and what to mend.")
class UserError:
    code: ErrorCode = strawberry.field(description="What is wrong, for programs.")
    message: str = strawberry.field(description="What is wrong, for people.")
    path: list[str] | None = strawberry.field(
        default=None, description="Which part of the input is wrong; null where none is."
    )


@strawberry.type(description="Something in the input does not fit.")
class InputError(UserError):
    pass


@strawberry.type(description="The target is one that this must not be done to.")
class ProtectedTargetError(UserError):
    pass


@strawberry.type(description="Accounts are made by administrators only.")
class SignupClosedError(UserError):
    pass


@strawberry.type(description="Somebody else is doing the same at this moment.")
class AlreadyRunningError(UserError):
    pass


@strawberry.type(description="This was done too often.")
class RateLimitedError(UserError):
    limit: str = strawberry.field(description="The name of the limit.")
    retry_after: int = strawberry.field(description="In how many seconds it may be done again.")


# The members of the interface, which the schema is told since no field returns one by its name.
USER_ERRORS = (
    AlreadyRunningError,
    InputError,
    ProtectedTargetError,
    RateLimitedError,
    SignupClosedError,
)


def account_error(error: AccountError) -> UserError:
    """Return what a verb on accounts refused as one of the errors of a payload."""
    member = {"PROTECTED_TARGET": ProtectedTargetError, "SIGNUP_CLOSED": SignupClosedError}
    return member.get(error.code, InputError)(
        code=ErrorCode(error.code),
        message=error.message,
        path=["input", error.field] if error.field else None,
    )
