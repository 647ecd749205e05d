"""Of the rules that match a visit the most specific decides, as the design says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tracking.engine.address import IPAddress, parse_address, parse_network
from tracking.engine.place import NOWHERE, Place
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import (
    ANY_COUNTRY,
    Target,
    TargetError,
    target_of_asn,
    target_of_country,
    target_of_network,
)
from tracking.engine.verdict import ALLOWED, Verdict, VerdictKind
from tracking.engine.visit import Visit

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BLOCK, ALLOW = RuleAction.BLOCK, RuleAction.ALLOW
Entry = tuple[Target, Rule]


def visit(
    address: str | IPAddress = "203.0.113.7",
    place: Place = NOWHERE,
    path: str = "/",
    method: str = "GET",
) -> Visit:
    client = parse_address(address) if isinstance(address, str) else address
    return Visit(NOW, 0.0, "0" * 32, client, method, "", path, path_info=path, place=place)


def target(text: str) -> Target:
    if text.upper().startswith("AS") and text[2:].isdigit():
        return target_of_asn(text)
    if len(text) == 2 or text == ANY_COUNTRY:
        return target_of_country(text)
    return target_of_network(parse_network(text))


def ruleset(*entries: Entry, unknown_is_any: bool = False) -> RuleSet:
    rules = RuleSet(unknown_is_any=unknown_is_any)
    rules.put_all((about.kind, about.text, rule) for about, rule in entries)
    return rules


def decided(*entries: tuple[str, Rule], **facts: object) -> Verdict:
    made = ruleset(*((target(text), rule) for text, rule in entries))
    return made.decide(visit(**facts), NOW)  # type: ignore[arg-type]


def test_nobody_is_refused_without_rules() -> None:
    assert RuleSet().decide(visit(), NOW) is ALLOWED


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.0/25", "203.0.113.0/24"),
        ("203.0.113.0/24", "0.0.0.0/0"),
        ("81.2.0.0/16", "AS20712"),
        ("0.0.0.0/0", "AS20712"),
        ("AS20712", "GB"),
        ("GB", ANY_COUNTRY),
    ],
)
def test_the_more_specific_rule_decides(stronger: str, weaker: str) -> None:
    address = "203.0.113.7" if stronger.startswith("203") else "81.2.69.142"
    place = Place("GB", None, 20712)
    for action, kind in ((BLOCK, VerdictKind.BLOCKED), (ALLOW, VerdictKind.ALLOWED)):
        other = ALLOW if action is BLOCK else BLOCK
        for entries in (
            ((stronger, Rule(1, action)), (weaker, Rule(2, other))),
            ((weaker, Rule(1, other)), (stronger, Rule(2, action))),
        ):
            verdict = decided(*entries, address=address, place=place)
            assert verdict.kind is kind
            assert verdict.rule == next(rule.id for text, rule in entries if text == stronger)


def test_on_one_target_a_scope_comes_first_then_allow_then_the_older() -> None:
    about = "203.0.113.0/24"
    scoped = Rule(4, BLOCK, path="/shop/")
    entries = [(about, rule) for rule in (Rule(3, BLOCK), Rule(2, ALLOW), scoped, Rule(1, ALLOW))]
    assert decided(*entries, path="/shop/x") == Verdict(VerdictKind.BLOCKED, rule=4)
    assert decided(*entries, path="/") == Verdict(VerdictKind.ALLOWED, rule=1)


def test_a_rule_ends_at_its_second_without_being_taken_away() -> None:
    rules = ruleset((target("203.0.113.7"), Rule(1, BLOCK, expires_at=NOW)))
    tick = timedelta(microseconds=1)
    assert rules.decide(visit(), NOW - tick).kind is VerdictKind.BLOCKED
    assert rules.decide(visit(), NOW) is ALLOWED


def test_what_stands_behind_a_rule_that_is_over_decides_again() -> None:
    over = Rule(1, ALLOW, expires_at=NOW)
    entries = (("203.0.113.7", over), ("203.0.113.0/24", Rule(2, BLOCK)))
    assert decided(*entries) == Verdict(VerdictKind.BLOCKED, rule=2)


def test_observed_rules_refuse_nobody_and_tell_whom_they_would() -> None:
    observed = ("203.0.113.7", Rule(1, BLOCK, observed=True))
    assert decided(observed) == Verdict(VerdictKind.OBSERVED, rule=1)
    behind = ("203.0.113.0/24", Rule(2, BLOCK))
    assert decided(observed, behind) == Verdict(VerdictKind.BLOCKED, rule=2)
    allowed = ("203.0.113.0/24", Rule(2, ALLOW))
    assert decided(observed, allowed) == Verdict(VerdictKind.OBSERVED, rule=1)


def test_an_observed_permission_is_weighed_against_observed_blocks_only() -> None:
    allow = ("203.0.113.7", Rule(1, ALLOW, observed=True))
    block = ("203.0.113.0/24", Rule(2, BLOCK, observed=True))
    assert decided(allow, block) is ALLOWED
    assert decided(allow, ("203.0.113.0/24", Rule(2, BLOCK))).kind is VerdictKind.BLOCKED


@pytest.mark.parametrize(
    ("methods", "method", "matches"),
    [
        (("GET",), "GET", True),
        (("GET",), "HEAD", True),
        (("HEAD",), "HEAD", True),
        (("HEAD",), "GET", False),
        (("POST",), "HEAD", False),
        (("POST", "PUT"), "PUT", True),
        ((), "PROPFIND", True),
    ],
)
def test_head_counts_as_get(methods: tuple[str, ...], method: str, matches: bool) -> None:
    verdict = decided(("203.0.113.7", Rule(1, BLOCK, methods=methods)), method=method)
    assert (verdict.kind is VerdictKind.BLOCKED) == matches


@pytest.mark.parametrize(
    ("block", "client", "matches"),
    [
        ("::/0", "203.0.113.7", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::ffff:0:0/96", "203.0.113.7", True),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("::ffff:203.0.113.0/120", "203.0.113.7", True),
        ("::203.0.113.7", "203.0.113.7", False),  # an address of its own, long out of use
        ("64:ff9b::/96", "64:ff9b::203.0.113.7", True),
        ("203.0.113.7", "64:ff9b::203.0.113.7", False),  # that client is at its translator
        ("::/0", "::", True),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255", False),
        ("255.255.255.255", "255.255.255.255", True),
    ],
)
def test_forms_of_addresses_do_not_mix(block: str, client: str, matches: bool) -> None:
    verdict = decided((block, Rule(1, BLOCK)), address=client)
    assert (verdict.kind is VerdictKind.BLOCKED) == matches


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "100.64.0.1", "fe80::1", "fc00::1"])
def test_places_are_no_matter_for_addresses_that_are_nowhere(address: str) -> None:
    rules = ruleset((target(ANY_COUNTRY), Rule(1, BLOCK)), unknown_is_any=True)
    assert rules.decide(visit(address), NOW) is ALLOWED
    assert rules.decide(visit("8.8.8.8"), NOW).kind is VerdictKind.BLOCKED


def test_an_unknown_country_is_exempt_unless_it_is_any() -> None:
    rule = (target(ANY_COUNTRY), Rule(1, BLOCK))
    assert ruleset(rule).decide(visit("8.8.8.8"), NOW) is ALLOWED
    assert ruleset(rule, unknown_is_any=True).decide(visit("8.8.8.8"), NOW).refused


@pytest.mark.parametrize("text", ["", "D", "DEU", "D1", "ДЕ", "dé", "**", "ß1"])
def test_what_is_no_country_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        target_of_country(text)


@pytest.mark.parametrize("text", ["0", "-1", "4294967296", "AS", "AS01", "٣", "1.5", "1" * 5000])
def test_what_is_no_autonomous_system_is_refused(text: str) -> None:
    with pytest.raises(TargetError) as refused:
        target_of_asn(text)
    assert len(str(refused.value)) < 200


def test_a_change_counts_for_clients_that_are_remembered() -> None:
    rules = RuleSet()
    about, rule = target("203.0.113.0/24"), Rule(1, BLOCK)
    for _ in range(3):
        assert not rules.decide(visit(), NOW).refused
        rules.put(about.kind, about.text, rule)
        assert rules.decide(visit(), NOW).refused
        rules.drop(about.kind, about.text, rule.id)
    rules.drop(about.kind, about.text, rule.id)
    assert len(rules) == 0


def test_deciding_while_another_thread_changes_rules_never_fails_and_ends_right() -> None:
    rules = RuleSet()
    about = target("203.0.113.7")
    others = [target(f"203.0.{number}.0/{24 + number % 8}") for number in range(250)]
    stop = threading.Event()

    def decide() -> None:
        while not stop.is_set():
            rules.decide(visit(), NOW)

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(decide) for _ in range(3)]
        for number in range(2000):
            other = others[number % 250]
            rules.put(other.kind, other.text, Rule(number + 2, BLOCK))
            rules.put(about.kind, about.text, Rule(1, BLOCK))
            assert rules.decide(visit(), NOW).refused
            rules.drop(about.kind, about.text, 1)
            rules.drop(other.kind, other.text, number + 2)
            assert not rules.decide(visit(), NOW).refused
        stop.set()
    assert [reader.result() for reader in readers] == [None] * 3
