"""Whom a rule is about: in one spelling, and nobody else."""

from __future__ import annotations

import pytest

from tracking.engine.address import parse_address, parse_network
from tracking.engine.place import Place
from tracking.engine.targets import (
    RuleKind,
    Target,
    TargetError,
    target_of_asn,
    target_of_country,
    target_of_network,
    texts_around,
)

GERMANY = Place("DE", "Berlin", 64496)
NETWORK = target_of_network(parse_network("203.0.113.0/24"))


@pytest.mark.parametrize(
    ("target", "address", "is_meant"),
    [
        (NETWORK, "203.0.113.7", True),
        (NETWORK, "203.0.114.7", False),
        (NETWORK, "2001:db8::1", False),
        (target_of_country("de"), "8.8.8.8", True),
        (target_of_country("FR"), "8.8.8.8", False),
        (target_of_country("*"), "8.8.8.8", True),
        (target_of_country("*"), "10.0.0.1", False),
        (target_of_asn("as64496"), "8.8.8.8", True),
        (target_of_asn(64497), "8.8.8.8", False),
    ],
)
def test_a_target_covers_whom_it_means(target: Target, address: str, is_meant: bool) -> None:
    assert target.covers(parse_address(address), GERMANY) is is_meant


def test_who_is_nowhere_is_in_no_country_and_no_system() -> None:
    address = parse_address("8.8.8.8")
    assert not target_of_country("*").covers(address)
    assert not target_of_asn(64496).covers(address)


def test_targets_have_one_spelling() -> None:
    assert target_of_country("de") == Target(RuleKind.COUNTRY, "DE")
    assert target_of_asn("as64496") == Target(RuleKind.ASN, "AS64496")
    assert target_of_asn(2**32 - 1).text == "AS4294967295"
    lone = parse_network("203.0.113.7/32")
    assert target_of_network(lone) == Target(RuleKind.ADDRESS, "203.0.113.7", lone)
    assert Target(RuleKind.NETWORK, "203.0.113.0/24", parse_network("203.0.113.0/24")) == NETWORK
    assert texts_around(lone)[0] == "0.0.0.0/0"
    assert texts_around(lone)[-2:] == ("203.0.113.6/31", "203.0.113.7")


@pytest.mark.parametrize("code", ["", "D", "DEU", "D1", "dé", "DE\n"])
def test_what_is_no_country_is_refused_in_words(code: str) -> None:
    with pytest.raises(TargetError, match=r"write two letters such as DE, or \*$") as refusal:
        target_of_country(code)
    assert str(refusal.value).startswith(f"{code!a} is not a country")


@pytest.mark.parametrize("number", ["", "0", "AS", "-1", "AS064496", 2**32, "ASN64496"])
def test_what_is_no_system_is_refused_in_words(number: str | int) -> None:
    with pytest.raises(TargetError, match=r"write a number such as 64496$") as refusal:
        target_of_asn(number)
    assert str(refusal.value).startswith(f"'{number}' is not an autonomous system")
