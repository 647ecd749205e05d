"""Which address is looked up for a place."""

from __future__ import annotations

import pytest

from tracking.engine.address import parse_address
from tracking.engine.place import locatable


@pytest.mark.parametrize(
    ("address", "looked_up"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("64:ff9b::808:808", "8.8.8.8"),
        ("2600::808:808", "2600::808:808"),
        ("64:ff9b::a00:1", "None"),
        ("10.0.0.1", "None"),
        ("2001:db8::1", "None"),
    ],
)
def test_the_address_that_is_carried_is_looked_up_and_special_ones_are_nowhere(
    address: str, looked_up: str
) -> None:
    assert str(locatable(parse_address(address))) == looked_up
