"""Take addresses and names out of what is kept for another reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracking.engine.address import AddressError, IPNetwork, parse_network

ERASED = "[erased]"
_MAYBE_NETWORK = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?(?![0-9A-Za-z])", re.ASCII
)


def is_inside(text: str, networks: Sequence[IPNetwork]) -> bool:
    """Tell whether a text is an address or a network that lies in one of these."""
    try:
        network = parse_network(text)
    except AddressError:
        return False
    return any(network.version == each.version and network.subnet_of(each) for each in networks)  # type: ignore[arg-type]


def without_addresses(text: str, networks: Sequence[IPNetwork]) -> str:
    """Return a text with ERASED for each address and network that lies in one of these.

    Found is what stands by itself, with a stop or colon around it at most.
    """

    def kept(match: re.Match[str]) -> str:
        word = match.group()
        for rest in ("", *_ends(word)):
            if is_inside(word.removesuffix(rest), networks):
                return ERASED + rest
        return word

    return _MAYBE_NETWORK.sub(kept, text)


def without(
    value: Any, redacted: Callable[[str], str], keyed: Mapping[str, Callable[[str], str]]
) -> Any:
    """Return a JSON value with each text in it, and no key, redacted; below some keys otherwise."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [without(each, redacted, keyed) for each in value]
    if isinstance(value, dict):
        return {k: without(each, keyed.get(k, redacted), keyed) for k, each in value.items()}
    return value


def _ends(word: str) -> Sequence[str]:
    return [end for end in (".", ":", "...") if word.endswith(end)]
