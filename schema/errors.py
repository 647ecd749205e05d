"""Top-level GraphQL errors: one code for each way in which a request can be refused."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from graphql import GraphQLError

logger = logging.getLogger(__name__)


class Code(enum.StrEnum):
    """The values of `extensions.code`."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
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
        yield seen
    if hidden:
        logger.error(
            "Unexpected error, reference %s, %d in all", reference, len(hidden), exc_info=hidden[0]
        )


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
