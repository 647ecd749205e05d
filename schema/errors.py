"""Top-level GraphQL errors: one code for each way in which a request can be refused."""

from __future__ import annotations

import enum

from graphql import GraphQLError


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
