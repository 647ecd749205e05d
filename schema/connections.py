"""Lists in pages, for things of any type: newest first, by the position of the last one seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import strawberry
from django.db.models import QuerySet
from strawberry import relay
from strawberry.types import Info

from schema.budget import within_budget
from schema.keyset import DEFAULT_PAGE, LARGEST_PAGE, cursor_writer, paging, read_page

T = TypeVar("T")

SIZES = f"1 to {LARGEST_PAGE}; {DEFAULT_PAGE} when neither first nor last is given"

# The four arguments of every list.
First: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"So many from the start, {SIZES}.")
]
After: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what follows this cursor.")
]
Last: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"So many from the end, {SIZES}.")
]
Before: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what precedes this cursor.")
]


@strawberry.type(description="Something in its place in a list.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(description="Where this stands, for after and before.")
    node: T = strawberry.field(description="The thing itself.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(
        description="The things with their cursors, in the order of the list."
    )
    nodes: list[T] = strawberry.field(description="The things alone, in the order of the list.")
    page_info: relay.PageInfo = strawberry.field(description="How to go on from this page.")


def connect(
    info: Info,
    rows: QuerySet[Any],
    arguments: tuple[int | None, str | None, int | None, str | None],
    nodes_of: Callable[[Iterable[int]], Mapping[int, T]],
    narrow: str,
) -> Connection[T]:
    """Return the page of `rows` (with a column `at`) for the arguments first, after, last, before.

    `nodes_of` fetches the nodes of a page by their primary keys. Raises Refusal: BAD_USER_INPUT for
    arguments that make no sense, QUERY_TOO_COSTLY where `narrow` says what to ask instead.
    """
    asked = paging(*arguments)
    with within_budget(info, narrow):
        page = read_page(rows.values_list("at", "id"), asked, ascending=False)
        nodes = nodes_of(pk for _, pk in page.rows)
    write = cursor_writer()
    edges = [Edge(cursor=write(at, pk), node=nodes[pk]) for at, pk in page.rows if pk in nodes]
    return Connection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=relay.PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
