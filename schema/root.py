"""The schema: fragments by noun, merged."""

from __future__ import annotations

import strawberry


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(description="Always true; a first field to ask for.")
    def alive(self) -> bool:
        return True


schema = strawberry.Schema(query=Query)
