"""Pseudonyms: one for each address, together where the addresses count as one client."""

from __future__ import annotations

from tracking.engine.address import parse_address
from tracking.engine.pseudonym import pseudonym

KEY = b"k" * 32


def test_a_pseudonym_stays_what_it_is() -> None:
    made = pseudonym(parse_address("203.0.113.5"), KEY)
    assert pseudonym(made, KEY) == made


def test_addresses_of_one_client_keep_one_prefix_and_are_told_apart() -> None:
    made = [pseudonym(parse_address(f"2001:db8::{number:x}"), KEY) for number in range(1, 21)]
    assert len({int(each) >> 64 for each in made}) == 1
    assert len(set(made)) == len(made)
