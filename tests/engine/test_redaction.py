"""Addresses are taken out of texts, whatever stands around them."""

from __future__ import annotations

import pytest

from tracking.engine.address import parse_network
from tracking.engine.redaction import without_addresses


@pytest.mark.parametrize("end", ["", ".", ":", "...", ", and more"])
def test_an_address_is_erased_and_what_ends_the_sentence_stays(end: str) -> None:
    networks = [parse_network("203.0.113.0/24")]
    assert without_addresses(f"seen 203.0.113.5{end}", networks) == f"seen [erased]{end}"
    assert without_addresses(f"seen 203.0.114.5{end}", networks) == f"seen 203.0.114.5{end}"
