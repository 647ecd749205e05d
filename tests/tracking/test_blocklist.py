"""The one writer of the rules: what it makes, what it refuses, and what stands in the audit log."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tracking import audit, blocklist, policy, recorder
from tracking.audit import COMMAND_LINE, Actor
from tracking.engine.address import parse_address
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.engine.targets import Target
from tracking.models import AccessRule, AuditEntry
from tracking.proposals import (
    AlreadyBlockedError,
    NotBlockedError,
    Proposal,
    TooWideError,
    WouldLockOutError,
)

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK, ALLOW = RuleAction.BLOCK, RuleAction.ALLOW
AUTOMATIC = AccessRule.Origin.AUTOMATIC
LONDON = Actor("london", "4", parse_address("81.2.69.142"), is_superuser=True)
ADA = Actor("ada", "1", parse_address("198.51.100.10"))
ROOT = Actor("root", "2", parse_address("198.51.100.10"), is_superuser=True)
SIX = Actor("six", "3", parse_address("2001:db8:1::7"), is_superuser=True)


def wanted(text: str, action: RuleAction = BLOCK, **more: object) -> Proposal:
    return Proposal(target=read_target(text), action=action, **more)  # type: ignore[arg-type]


def block(text: str, actor: Actor = ADA, **more: object) -> AccessRule:
    return blocklist.block(actor, wanted(text, **more))


def allow(text: str, actor: Actor = ADA, **more: object) -> blocklist.Allowance:
    return blocklist.allow(actor, wanted(text, ALLOW, **more))


def soon(**span: int) -> datetime:
    return timezone.now() + timedelta(**(span or {"hours": 1}))


def written() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("pk").values_list("actor", "action", "target"))


def test_a_rule_keeps_who_why_and_until_when() -> None:
    until = soon()
    row = block("203.0.113.0/24", expires_at=until, reason="scans\n\x00", methods=("post", "GET"))
    row.refresh_from_db()
    assert (row.kind, row.target, row.action, row.expires_at) == (
        "NETWORK", "203.0.113.0/24", "BLOCK", until,
    )  # fmt: skip
    assert (row.reason, row.created_by, row.origin) == (r"scans\x0a\x00", "ada", "MANUAL")
    assert (row.methods, row.hits, row.last_hit_at) == (("GET", "POST"), 0, None)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.actor_pk, entry.address) == ("ada", "1", "198.51.100.10")
    assert (entry.action, entry.target, entry.before) == ("block", "203.0.113.0/24", None)
    assert entry.after == audit.facts(row)


def test_lifting_keeps_history() -> None:
    first = block("203.0.113.7")
    blocklist.lift(ADA, read_target("203.0.113.7"), BLOCK, "a mistake")
    second = block("203.0.113.7")
    first.refresh_from_db()
    assert first.ended_at is not None
    assert second.pk != first.pk
    assert AccessRule.objects.live(timezone.now()).get() == second
    assert written() == [
        ("ada", verb, "203.0.113.7") for verb in ("block", "unblock", "block")
    ]  # fmt: skip
    assert [entry.reason for entry in AuditEntry.objects.order_by("pk")] == ["", "a mistake", ""]


def test_extending_changes_the_end_and_says_what_it_was() -> None:
    row = block("203.0.113.7", expires_at=soon())
    later = soon(days=1)
    assert blocklist.extend(ADA, row.pk, later).expires_at == later
    entry = AuditEntry.objects.latest("pk")
    assert entry.action == "extend_rule"
    assert (entry.before or {})["expires_at"] < (entry.after or {})["expires_at"]
    blocklist.lift(ADA, read_target("203.0.113.7"), BLOCK)
    with pytest.raises(NotBlockedError):
        blocklist.extend(ADA, row.pk, None)


def test_what_is_blocked_is_not_blocked_again() -> None:
    row = block("203.0.113.0/24", expires_at=soon(hours=2))
    for text, until in (("203.0.113.0/24", None), ("203.0.113.7", soon(hours=1))):
        with pytest.raises(AlreadyBlockedError) as refused:
            block(text, expires_at=until)
        assert refused.value.rule == row
    assert block("203.0.113.7")  # this lasts longer
    assert block("203.0.113.0/24", path="/shop/", observed=True)
    [one, other] = blocklist.block_many(ADA, [wanted("203.0.112.7"), wanted("203.0.112.7")])
    assert isinstance(other, AlreadyBlockedError)
    assert other.rule == one


def test_a_rule_that_is_over_makes_room_though_nobody_noted_its_end() -> None:
    row = block("203.0.113.7", expires_at=soon())
    past = timezone.now() - timedelta(seconds=1)
    AccessRule.objects.filter(pk=row.pk).update(expires_at=past)
    again = block("203.0.113.7")
    row.refresh_from_db()
    assert (row.ended_at, again.ended_at) == (past, None)


def test_lifting_what_is_not_blocked_names_what_does_block() -> None:
    wide = block("203.0.113.0/24")
    with pytest.raises(NotBlockedError) as refused:
        blocklist.lift(ADA, read_target("203.0.113.7"), BLOCK)
    assert refused.value.rule == wide
    with pytest.raises(NotBlockedError) as refused:
        blocklist.lift(ADA, read_target("192.0.2.1"), BLOCK)
    assert refused.value.rule is None
    with pytest.raises(NotBlockedError, match=r"^192\.0\.2\.1 is not allowed\.$"):
        blocklist.lift(ADA, read_target("192.0.2.1"), ALLOW)


def test_allowing_lifts_automatic_blocks_inside_and_names_the_manual_ones() -> None:
    automatic = block("203.0.113.7", origin=AUTOMATIC, expires_at=soon())
    manual = block("203.0.113.8")
    scoped = block("203.0.113.0/24", path="/shop/")
    block("203.0.112.9", origin=AUTOMATIC, expires_at=soon())
    allowed = allow("203.0.113.0/24")
    assert allowed.lifted == [automatic]
    assert set(allowed.shadowing) == {manual, scoped}
    assert ("ada", "unblock", "203.0.113.7") in written()


def test_allowing_a_part_of_the_site_lifts_nothing() -> None:
    automatic = block("203.0.113.7", origin=AUTOMATIC, expires_at=soon())
    allowed = allow("203.0.113.0/24", path="/feed/")
    assert (allowed.lifted, allowed.shadowing) == ([], [automatic])


def test_only_these_countries_and_then_all_again(places: None) -> None:
    countries = [read_target("GB"), read_target("FR")]
    rows = blocklist.allow_only(LONDON, countries)
    assert [(row.action, row.target) for row in rows] == [
        ("ALLOW", "FR"), ("ALLOW", "GB"), ("BLOCK", "*"),
    ]  # fmt: skip
    assert [row.target for row in blocklist.allow_only(LONDON, countries[:1])] == ["GB", "*"]
    with pytest.raises(WouldLockOutError):
        blocklist.allow_only(LONDON, [read_target("FR")])
    live = AccessRule.objects.live(timezone.now())
    assert set(live.values_list("target", flat=True)) == {"GB", "*"}
    assert blocklist.allow_only(LONDON, []) == []
    assert not live.all().exists()


def test_only_these_countries_holds_though_they_were_allowed_for_a_while(places: None) -> None:
    for text, action in (("GB", ALLOW), ("*", BLOCK)):
        soon = timezone.now() + timedelta(hours=1)
        proposal = Proposal(target=read_target(text), action=action, expires_at=soon)
        (blocklist.allow if action is ALLOW else blocklist.block)(COMMAND_LINE, proposal)
    rows = blocklist.allow_only(LONDON, [read_target("GB")])
    assert [(row.target, row.expires_at) for row in rows] == [("GB", None), ("*", None)]
    assert AuditEntry.objects.filter(action="extend_rule").count() == 2


def test_the_last_country_that_is_allowed_stays_while_all_others_are_refused(places: None) -> None:
    allow("GB", COMMAND_LINE)
    block("*", COMMAND_LINE)
    with pytest.raises(TooWideError, match="let all in again first"):
        blocklist.lift(COMMAND_LINE, read_target("GB"), ALLOW)
    allow("FR", COMMAND_LINE)
    blocklist.lift(COMMAND_LINE, read_target("GB"), ALLOW)
    blocklist.lift(COMMAND_LINE, read_target("*"), BLOCK)
    blocklist.lift(COMMAND_LINE, read_target("FR"), ALLOW)


def test_every_country_again_is_not_where_that_locks_out_who_asks(places: None) -> None:
    gb = read_target("GB")
    blocklist.block(COMMAND_LINE, Proposal(target=gb, action=BLOCK))
    assert blocklist.allow_only(LONDON, [gb])
    with pytest.raises(WouldLockOutError):
        blocklist.allow_only(LONDON, [])
    assert AccessRule.objects.live(timezone.now()).count() == 3


def test_everything_that_blocks_can_be_lifted_with_one_call() -> None:
    for text in ("203.0.113.7", "DE", "AS64496", "192.0.2.0/24"):
        block(text)
    allow("198.51.100.10")
    assert blocklist.lift_all(COMMAND_LINE) == 4
    live = AccessRule.objects.live(timezone.now())
    assert [row.action for row in live] == ["ALLOW"]
    assert len(policy.current()) == 1
    assert written()[-1] == ("command line", "unblock_all", "*")


def test_many_rules_cost_few_queries(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    proposals = [wanted(f"203.{number // 250}.{number % 250}.7") for number in range(1000)]
    with django_assert_max_num_queries(60):
        outcomes = blocklist.block_many(ADA, proposals)
    assert all(isinstance(outcome, AccessRule) for outcome in outcomes)
    assert (len(policy.current()), AuditEntry.objects.count()) == (1000, 1000)


def test_many_systems_cost_what_many_addresses_cost() -> None:
    def seconds(targets: list[str]) -> float:
        begun = time.process_time()
        blocklist.block_many(ADA, [wanted(target) for target in targets])
        return time.process_time() - begun

    addresses = seconds([f"203.{number // 250}.{number % 250}.7" for number in range(4000)])
    assert seconds([f"AS{64500 + number}" for number in range(4000)]) < 3 * addresses


def test_changes_at_the_same_time_come_one_after_the_other() -> None:
    """The rules end as the last acknowledged change left them, and each change is on record."""
    target = read_target("203.0.113.7")
    acknowledged: list[tuple[int, bool]] = []
    turns = itertools.count()

    def change() -> None:
        for _ in range(15):
            blocks = next(turns) % 2 == 0
            try:
                row = block("203.0.113.7") if blocks else blocklist.lift(ADA, target, BLOCK)
            except (AlreadyBlockedError, NotBlockedError):
                continue
            acknowledged.append((row.version, blocks))
        connection.close()

    threads = [threading.Thread(target=change) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(acknowledged)
    assert len({version for version, _ in versions}) == len(versions) == AuditEntry.objects.count()
    assert [blocks for _, blocks in versions] == [
        number % 2 == 0 for number in range(len(versions))
    ], "blocked and lifted in turn"
    policy.refresh()
    assert bool(len(policy.current())) == versions[-1][1]


def test_who_counts_hits_and_who_changes_rules_do_not_wait_for_each_other() -> None:
    texts = [f"203.0.113.{number}" for number in range(40)]
    blocklist.block_many(ADA, [wanted(text) for text in texts])
    numbers = list(AccessRule.objects.values_list("pk", flat=True))

    def count() -> None:
        for _ in range(30):
            with transaction.atomic():
                recorder._count_hits([("2026-11-22 12:00:00", number) for number in numbers])
        connection.close()

    def change() -> None:
        for _ in range(15):
            backwards = [read_target(text) for text in reversed(texts)]
            blocklist.lift_many(ADA, backwards, BLOCK)
            with policy.changing():
                AccessRule.objects.update(ended_at=None)  # the same ones again
        connection.close()

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(each) for each in (count, change, count)]
        assert [each.result() for each in done] == [None] * 3
    assert set(AccessRule.objects.values_list("hits", flat=True)) == {60}


def test_the_target_of_a_rule_is_read_back_as_it_was_made() -> None:
    targets: list[Target] = []
    for text in ("203.0.113.7", "203.0.113.0/24", "2001:db8:9::/48", "DE", "AS64496"):
        block(text)
        targets.append(read_target(text))
    assert [blocklist.target_of(row) for row in AccessRule.objects.order_by("pk")] == targets


def test_the_end_of_rules_is_noted_once() -> None:
    block("203.0.113.7", expires_at=soon(hours=1))
    block("203.0.113.8", expires_at=soon(hours=3))
    later = timezone.now() + timedelta(hours=2)
    assert [blocklist.close_expired(later) for _ in range(2)] == [1, 0]
    assert AccessRule.objects.get(target="203.0.113.7").ended_at < later.astimezone(UTC)
