"""The decision is that of a reader who goes through the whole list, by the design's sentences."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tracking.engine.address import IPAddress, Scope, scope_of
from tracking.engine.place import Place
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import (
    ANY_COUNTRY,
    RuleKind,
    Target,
    target_of_asn,
    target_of_country,
    target_of_network,
)
from tracking.engine.verdict import ALLOWED, Verdict, VerdictKind
from tracking.engine.visit import Visit

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BLOCK, ALLOW = RuleAction.BLOCK, RuleAction.ALLOW
Entry = tuple[Target, Rule]

BITS = {RuleKind.ASN: -1, RuleKind.COUNTRY: -2}


def strength(entry: Entry) -> tuple[object, ...]:
    about, rule = entry
    length = about.network.prefixlen if about.network is not None else BITS[about.kind]
    if about.text == ANY_COUNTRY:
        length = -3
    is_scoped = bool(rule.path or rule.methods)
    return -length, not is_scoped, rule.action is BLOCK, rule.id


def matches(about: Target, who: Visit, unknown_is_any: bool) -> bool:
    if about.network is not None:
        return who.address.version == about.network.version and who.address in about.network
    if scope_of(who.address) is not Scope.GLOBAL:
        return False
    if about.kind is RuleKind.ASN:
        return about.text == f"AS{who.place.asn}"
    if about.text == ANY_COUNTRY:
        return who.place.country is not None or unknown_is_any
    return about.text == who.place.country


def by_the_book(entries: list[Entry], who: Visit, now: datetime, unknown_is_any: bool) -> Verdict:
    counted = "GET" if who.method == "HEAD" else who.method
    found = sorted(
        (
            (about, rule)
            for about, rule in entries
            if matches(about, who, unknown_is_any)
            and (rule.expires_at is None or now < rule.expires_at)
            and who.path_info.startswith(rule.path)
            and (not rule.methods or {counted, who.method} & set(rule.methods))
        ),
        key=strength,
    )
    enforced = next((number for number, (_, rule) in enumerate(found) if not rule.observed), None)
    decisive = found[enforced][1] if enforced is not None else None
    if decisive is not None and decisive.action is BLOCK:
        return Verdict(VerdictKind.BLOCKED, rule=decisive.id)
    before = [rule for _, rule in found[:enforced] if rule.observed]
    if before and before[0].action is BLOCK:
        return Verdict(VerdictKind.OBSERVED, rule=before[0].id)
    return ALLOWED if decisive is None else Verdict(VerdictKind.ALLOWED, rule=decisive.id)


def any_target(dice: random.Random) -> Target:
    """One of few, so that many rules meet on one client."""
    kind = dice.random()
    if kind < 0.1:
        return target_of_asn(dice.randint(1, 3))
    if kind < 0.25:
        return target_of_country(dice.choice(["DE", "FR", ANY_COUNTRY]))
    address = any_address(dice)
    length = dice.choice([0, 1, 7, 8, 9, 23, 24, 30, 31, 32, 32, 48, 64, 96, 127, 128, 128])
    length = min(length, address.max_prefixlen)
    return target_of_network(ipaddress.ip_network((address, length), strict=False))


def any_address(dice: random.Random) -> IPAddress:
    last = dice.randint(0, 3)
    if dice.random() < 0.7:
        first = dice.choice(["81.2.69.0", "81.2.70.0", "10.0.0.0", "209.0.0.0", "255.255.255.252"])
        return ipaddress.IPv4Address(first) + last
    first = dice.choice(["2a00::", "2a00:0:0:1::", "::81.2.69.0", "64:ff9b::5102:4500", "fe80::"])
    return ipaddress.IPv6Address(first) + last


def any_rule(dice: random.Random, number: int) -> Rule:
    late = dice.choice([None, None, NOW, NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)])
    return Rule(
        number,
        dice.choice([BLOCK, ALLOW]),
        observed=dice.random() < 0.3,
        expires_at=late,
        path=dice.choice(["", "", "", "/a", "/a/b/"]),
        methods=dice.choice([(), (), (), ("POST",), ("GET",), ("HEAD", "PUT")]),
    )


def any_visit(dice: random.Random) -> Visit:
    place = Place(dice.choice(["DE", "FR", "US", None]), None, dice.choice([1, 2, 4, None]))
    path = dice.choice(["/", "/a", "/a/b/c", "/b"])
    method = dice.choice(["GET", "HEAD", "POST", "PUT"])
    address = any_address(dice)
    return Visit(NOW, 0.0, "0" * 32, address, method, "", path, path_info=path, place=place)


@pytest.mark.parametrize("seed", range(40))
def test_the_decision_is_that_of_a_reader_of_the_whole_list(seed: int) -> None:
    dice = random.Random(seed)
    unknown_is_any = bool(seed % 2)
    book: dict[int, Entry] = {}
    rules = RuleSet(unknown_is_any=unknown_is_any)
    for number in range(1, 200):
        about, rule = any_target(dice), any_rule(dice, number)
        book[number] = about, rule
        rules.put(about.kind, about.text, rule)
        if dice.random() < 0.4:  # something goes, something changes
            gone, other = book.pop(dice.choice(list(book)))
            rules.drop(gone.kind, gone.text, other.id)
        if book and dice.random() < 0.3:
            changed = dice.choice(list(book))
            again = replace(any_rule(dice, changed), id=changed)
            same, _ = book[changed]
            book[changed] = same, again
            rules.put(same.kind, same.text, again)
        for _ in range(5):
            who = any_visit(dice)
            expected = by_the_book(list(book.values()), who, NOW, unknown_is_any)
            assert rules.decide(who, NOW) == expected, (seed, number, who)
    assert len(rules) == len(book)
