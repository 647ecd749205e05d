"""Global ids: base64 of a type's name and a primary key."""

from __future__ import annotations

import base64
import binascii

from schema.errors import Refusal, bad_input

LARGEST_KEY = 2**63 - 1


def write_id(name: str, pk: int) -> str:
    """Return the global id of the row `pk` of the type `name`."""
    return base64.b64encode(f"{name}:{pk}".encode()).decode()


def read_id(text: str) -> tuple[str, int]:
    """Return the type and primary key a global id stands for.

    Raises Refusal BAD_USER_INPUT when this service never wrote such an id.
    """
    try:
        kind, _, key = base64.b64decode(text.encode("ascii"), validate=True).partition(b":")
        name, pk = kind.decode("ascii"), int(key[:20])
        if 0 < pk <= LARGEST_KEY and write_id(name, pk) == text:
            return name, pk
    except (ValueError, binascii.Error):
        pass
    raise wrong_id()


def read_id_of(name: str, text: str) -> int:
    """Return the primary key in the id of a thing of this type; raises Refusal BAD_USER_INPUT."""
    found, pk = read_id(text)
    if found != name:
        raise bad_input(f"This is not the id of a {name}: pass the id of one unchanged.")
    return pk


def wrong_id() -> Refusal:
    return bad_input("This is not an id of this service: pass the id of a node unchanged.")
