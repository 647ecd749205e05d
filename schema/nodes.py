"""Any single thing by its global id: base64 of its type's name and its primary key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import strawberry
from strawberry import relay
from strawberry.types import Info

from schema.errors import bad_input
from schema.requests import requests_by_id

MOST_IDS = 100
LARGEST_KEY = 2**63 - 1

# How the things of each type are fetched. Each entry asks for the permission its list asks for.
NODES: Mapping[str, Callable[[Info, Iterable[int]], Mapping[int, Any]]] = {
    "RequestLog": requests_by_id,
}


def read_id(text: str) -> tuple[str, int]:
    """Return the type and primary key a global id stands for.

    Raises Refusal BAD_USER_INPUT when this service never wrote such an id.
    """
    try:
        kind, _, key = base64.b64decode(text.encode("ascii"), validate=True).partition(b":")
        name, pk = kind.decode("ascii"), int(key[:20])
        if name in NODES and 0 < pk <= LARGEST_KEY and write_id(name, pk) == text:
            return name, pk
    except (ValueError, binascii.Error):
        pass
    raise bad_input("This is not an id of this service: pass the id of a node unchanged.")


def write_id(name: str, pk: int) -> str:
    """Return the global id of the row `pk` of the type `name`."""
    return base64.b64encode(f"{name}:{pk}".encode()).decode()


@strawberry.type
class NodeQueries:
    @strawberry.field(
        description="The thing with this id, or null when it does not exist (any more). Needs the"
        " permission that the list of such things needs."
    )
    def node(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 - Relay's word
            strawberry.ID, strawberry.argument(description="A global id.")
        ],
    ) -> relay.Node | None:
        name, pk = read_id(id)
        found: relay.Node | None = NODES[name](info, [pk]).get(pk)
        return found

    @strawberry.field(
        description="The things with these ids in the same order, null for those that do not exist"
        f" (any more). At most {MOST_IDS} ids."
    )
    def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="Global ids.")],
    ) -> list[relay.Node | None] | None:
        if len(ids) > MOST_IDS:
            raise bad_input(f"ids: at most {MOST_IDS}, not {len(ids)}.")
        keys = [read_id(id) for id in ids]  # noqa: A001
        found = {
            name: NODES[name](info, {pk for kind, pk in keys if kind == name})
            for name in dict(keys)
        }
        return [found[name].get(pk) for name, pk in keys]
