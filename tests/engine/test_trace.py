"""What a trace tells of each rule agrees with what is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.address import parse_address
from tracking.engine.place import Place
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.trace import Effect, walk
from tracking.engine.verdict import Verdict, VerdictKind
from tracking.engine.visit import Visit

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
TARGETS = [
    ("ADDRESS", "8.8.8.8"),
    ("NETWORK", "8.8.8.0/24"),
    ("NETWORK", "8.0.0.0/8"),
    ("NETWORK", "0.0.0.0/0"),
    ("ADDRESS", "2a00::1"),
    ("NETWORK", "2a00::/32"),
    ("ASN", "AS64496"),
    ("COUNTRY", "DE"),
    ("COUNTRY", "*"),
]
ends = st.sampled_from([None, NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)])
scopes = st.tuples(
    st.sampled_from(["", "/", "/a/", "/a/b"]),
    st.sampled_from([(), ("GET",), ("POST",), ("GET", "POST")]),
)
books = st.lists(
    st.tuples(
        st.sampled_from(TARGETS), st.sampled_from(list(RuleAction)), st.booleans(), ends, scopes
    ),
    max_size=12,
)
visits = st.builds(
    lambda address, country, asn, path, method: Visit(
        NOW, 0.0, "", parse_address(address), method, "", path, path, Place(country, None, asn)
    ),
    st.sampled_from(["8.8.8.8", "8.8.8.9", "8.1.1.1", "9.9.9.9", "2a00::1", "10.0.0.1"]),
    st.sampled_from([None, "DE", "FR"]),
    st.sampled_from([None, 64496, 64497]),
    st.sampled_from(["/", "/a/", "/a/b/c", "/c"]),
    st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
)


def book_of(lines: list[tuple], unknown_is_any: bool = False) -> RuleSet:  # type: ignore[type-arg]
    rules = RuleSet(unknown_is_any=unknown_is_any)
    for number, ((kind, text), action, observed, until, (path, methods)) in enumerate(lines, 1):
        rules.put(kind, text, Rule(number, action, observed, until, path, methods))
    return rules


@given(books, visits, st.booleans())
def test_a_trace_says_what_is_decided(
    lines: list[tuple],  # type: ignore[type-arg]
    visit: Visit,
    unknown_is_any: bool,
) -> None:
    rules = book_of(lines, unknown_is_any)
    matching = rules.matching(visit.address, visit.place)
    steps = list(walk(matching, visit))
    assert [rule for rule, _, _ in steps] == list(matching)
    assert verdict_of(steps) == rules.decide(visit, NOW)


def verdict_of(steps: list[tuple[Rule, Effect, Rule | None]]) -> Verdict:
    """Return the verdict that the effects spell."""
    by_effect = {effect: rule for rule, effect, _ in reversed(steps)}
    decides, observed = by_effect.get(Effect.DECIDES), by_effect.get(Effect.OBSERVED)
    if decides is not None and decides.action is RuleAction.BLOCK:
        return Verdict(VerdictKind.BLOCKED, rule=decides.id)
    if observed is not None and observed.action is RuleAction.BLOCK:
        return Verdict(VerdictKind.OBSERVED, rule=observed.id)
    return Verdict(VerdictKind.ALLOWED, rule=decides.id if decides is not None else None)


@given(books, visits)
def test_only_one_rule_decides_and_what_is_outranked_names_an_earlier_one(
    lines: list[tuple],  # type: ignore[type-arg]
    visit: Visit,
) -> None:
    steps = list(walk(book_of(lines).matching(visit.address, visit.place), visit))
    effects = [effect for _, effect, _ in steps]
    assert effects.count(Effect.DECIDES) <= 1
    assert effects.count(Effect.OBSERVED) <= 1
    for place, (_, effect, winner) in enumerate(steps):
        earlier = [rule for rule, _, _ in steps[:place]]
        assert (effect is Effect.OUTRANKED) is (winner is not None)
        assert winner is None or winner in earlier
