"""A schema that misbehaves in each way a resolver can, answered through the service's own view."""

from __future__ import annotations

import enum

import strawberry

from schema.errors import Code, Refusal
from schema.root import PreparedDocument, Schema

SECRET = "SELECT password FROM users_user -- /srv/app/settings.py"


@strawberry.enum(description="How loud.")
class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@strawberry.type(description="A row.")
class Row:
    @strawberry.field(description="Answers.")
    def name(self) -> str:
        return "row"

    @strawberry.field(description="Never answers.")
    def broken(self) -> str | None:
        raise RuntimeError(SECRET)


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(description="Answers.")
    def alive(self) -> bool:
        return True

    @strawberry.field(description="Raises what nobody expects.")
    def boom(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field(description="Raises where null is not allowed.")
    def required(self) -> str:
        raise RuntimeError(SECRET)

    @strawberry.field(description="Answers a number that GraphQL's Int cannot hold.")
    def number(self) -> int | None:
        return 2**40

    @strawberry.field(description="Refuses.")
    def refused(self) -> str | None:
        raise Refusal(Code.FORBIDDEN, "This is not for you.", hint=7)

    @strawberry.field(description="Echoes an argument.")
    def level(self, level: Level, times: int = 1) -> str | None:
        return level.value * times

    @strawberry.field(description="Pages.")
    def rows(self, first: int | None = None) -> list[Row]:
        return [Row() for _ in range(first or 50)]


@strawberry.type(description="What can be changed.")
class Mutation:
    @strawberry.mutation(description="Changes nothing.")
    def touch(self) -> bool:
        return True


toy = Schema(query=Query, mutation=Mutation, extensions=[PreparedDocument])
