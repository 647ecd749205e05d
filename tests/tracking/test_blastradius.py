"""Whom a rule would have hit, counted in the record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from tests.schema.book import rule, target
from tests.schema.record import record, row
from tracking import blastradius, policy
from tracking.blastradius import BlastRadius
from tracking.engine.rules import RuleAction
from tracking.proposals import Proposal
from tracking.timebudget import TimeBudget

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
ALLOW = RuleAction.ALLOW


def radius(text: str, seconds: float = 5.0, **facts: Any) -> BlastRadius:
    proposal = Proposal(target=target(text), action=RuleAction.BLOCK, **facts)
    return blastradius.of(proposal, TimeBudget(seconds), NOW)


def hours_ago(hours: float, **columns: Any) -> Any:
    return row(NOW - timedelta(hours=hours), **columns)


def test_what_came_within_the_days_and_was_let_in_counts() -> None:
    record(
        *(hours_ago(hours) for hours in (0.001, 1, 24, 24 * 7)),
        hours_ago(24 * 7 + 0.001),
        hours_ago(-1),
        hours_ago(1, verdict="OBSERVED"),
        hours_ago(1, verdict="BLOCKED"),
        hours_ago(1, verdict="LIMITED"),
    )
    found = radius("192.0.2.0/24")
    assert (found.requests, found.addresses, found.complete) == (5, 1, True)
    assert found.since == NOW - timedelta(days=7)
    assert radius("203.0.113.0/24").requests == 0


def test_the_scope_of_the_rule_counts_as_it_does_live() -> None:
    record(
        hours_ago(1, path="/admin/", method="POST"),
        hours_ago(1, path="/%61dmin/x", method="GET"),
        hours_ago(1, path="/admin/", method="HEAD"),
        hours_ago(1, path="/Admin/"),
        hours_ago(1, path="/shop/"),
    )
    assert radius("192.0.2.1", path="/admin/").requests == 3
    assert radius("192.0.2.1", path="/admin/", methods=("GET",)).requests == 2
    assert radius("192.0.2.1", methods=("POST",)).requests == 1


def test_whom_a_narrower_rule_lets_in_or_refuses_is_left_out() -> None:
    record(*(hours_ago(1, address=f"192.0.2.{n}") for n in range(1, 6)))
    rule("192.0.2.1", ALLOW)
    rule("192.0.2.2")
    rule("192.0.2.3", ALLOW, path="/only/")
    rule("192.0.2.4", ALLOW, observed=True)
    rule("192.0.0.0/16", ALLOW)
    assert radius("192.0.2.0/24").addresses == 3


def test_a_rule_on_the_same_target_that_comes_first_counts() -> None:
    record(hours_ago(1, path="/a/"), hours_ago(1, path="/b/"))
    rule("192.0.2.1", ALLOW, path="/a/")
    assert radius("192.0.2.1").requests == 1


def test_an_expired_rule_lets_nobody_in() -> None:
    record(hours_ago(1))
    made = rule("192.0.2.1", ALLOW)
    type(made).objects.filter(pk=made.pk).update(expires_at=NOW)
    assert radius("192.0.2.0/24").requests == 1


def test_users_are_named_by_how_often_they_came_and_not_all_of_them() -> None:
    rows = [hours_ago(1, username=f"u{n:02}") for n in range(25) for _ in range(n + 1)]
    record(*rows, hours_ago(1))
    found = radius("192.0.2.1")
    assert found.user_count == 25
    assert found.users == tuple(f"u{n:02}" for n in range(24, 4, -1))


def test_of_unknown_countries_public_addresses_alone_are_meant(settings: Settings) -> None:
    settings.TRACKING_UNKNOWN_COUNTRY = "any"
    policy.forget()
    record(hours_ago(1, address="9.9.9.9"), hours_ago(1, address="10.0.0.1"))
    assert radius("*").addresses == 1


@pytest.mark.parametrize(("unknown", "number"), [("exempt", 2), ("any", 3)])
def test_every_country_means_the_public_ones_but_those_allowed(
    settings: Settings, unknown: str, number: int
) -> None:
    settings.TRACKING_UNKNOWN_COUNTRY = unknown
    policy.forget()
    record(
        hours_ago(1, address="8.8.8.8", country="US"),
        hours_ago(1, address="8.8.8.9", country="FR"),
        hours_ago(1, address="9.9.9.9"),
        hours_ago(1, address="10.0.0.1"),
        hours_ago(1, address="8.8.4.4", country="DE"),
        hours_ago(1, address="8.8.4.5", country="FR", asn=64496),
    )
    rule("DE", ALLOW)
    rule("AS64496", ALLOW)
    found = radius("*")
    assert found.addresses == number
    assert set(found.countries) >= {("US", 1), ("FR", 1)}
    assert radius("FR").addresses == 1
    assert radius("AS64496").addresses == 0


def test_without_time_the_newest_days_count_and_the_answer_says_so() -> None:
    record(hours_ago(1))
    found = radius("192.0.2.1", seconds=0)
    assert (found.requests, found.complete, found.since) == (0, False, NOW)


def test_when_time_runs_out_in_the_middle_what_is_known_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(hours_ago(0.5), hours_ago(2), hours_ago(100))
    budget = TimeBudget(60)
    asked = blastradius._groups

    def groups(*arguments: Any) -> Any:
        budget.left -= 0 if arguments[2] == NOW else 1000
        return asked(*arguments)

    monkeypatch.setattr(blastradius, "_groups", groups)
    proposal = Proposal(target=target("192.0.2.1"), action=RuleAction.BLOCK)
    found = blastradius.of(proposal, budget, NOW)
    assert (found.requests, found.complete) == (1, False)
    assert found.since == NOW - timedelta(hours=1)


def test_more_than_fits_in_memory_is_counted_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blastradius, "MOST_GROUPS", 3)
    record(*(hours_ago(1, address=f"192.0.2.{n}") for n in range(5)))
    found = radius("192.0.2.0/24")
    assert (found.addresses, found.complete, found.since) == (4, False, NOW)
