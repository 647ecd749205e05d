"""Any single thing by its global id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import strawberry
from strawberry import relay
from strawberry.types import Info

from schema.accounts import users_by_id
from schema.attempts import attempts_by_id
from schema.audit import entries_by_id
from schema.detection import runs_by_id
from schema.errors import bad_input
from schema.ids import read_id, wrong_id
from schema.requests import requests_by_id
from schema.rules import rules_by_id
from schema.suspicions import suspicions_by_id

MOST_IDS = 100

# How the things of each type are fetched. Each entry asks for the permission its list asks for.
NODES: Mapping[str, Callable[[Info, Iterable[int]], Mapping[int, Any]]] = {
    "RequestLog": requests_by_id,
    "AccessRule": rules_by_id,
    "SuspiciousIP": suspicions_by_id,
    "DetectionRun": runs_by_id,
    "LoginAttempt": attempts_by_id,
    "AuditEntry": entries_by_id,
    "User": users_by_id,
}


def read_node_id(text: str) -> tuple[str, int]:
    """Return the type and primary key of a node; raises Refusal BAD_USER_INPUT."""
    name, pk = read_id(text)
    if name not in NODES:
        raise wrong_id()
    return name, pk


@strawberry.type
class NodeQueries:
    @strawberry.field(
        description="The thing with this id, or null when it does not exist (any more). Needs the"
        " permission that the list of such things needs; one's own account needs none."
    )
    def node(
        self,
        info: Info,
        id: Annotated[  # noqa: A002 - Relay's word
            strawberry.ID, strawberry.argument(description="A global id.")
        ],
    ) -> relay.Node | None:
        name, pk = read_node_id(id)
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
        keys = [read_node_id(id) for id in ids]  # noqa: A001
        found = {
            name: NODES[name](info, {pk for kind, pk in keys if kind == name})
            for name in dict(keys)
        }
        return [found[name].get(pk) for name, pk in keys]
