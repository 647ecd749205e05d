"""Each process follows the book of rules: soon, wholly, and by what it knows while it must."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tracking import background, blocklist, policy
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import target_of_network
from tracking.models import AccessRule, Counter
from tracking.proposals import Proposal

pytestmark = pytest.mark.django_db(transaction=True)


def proposal(text: str, **more: object) -> Proposal:
    about = target_of_network(parse_network(text))
    return Proposal(target=about, action=RuleAction.BLOCK, **more)  # type: ignore[arg-type]


def block(text: str = "203.0.113.7", **more: object) -> AccessRule:
    return blocklist.block(COMMAND_LINE, proposal(text, **more))


def known(text: str = "203.0.113.7") -> set[int]:
    return {rule.id for rule in policy._rules.matching(parse_network(text)[0])}


def change_elsewhere(change: Callable[[], object]) -> None:
    """Change rules as another process would: this one hears of it from the database alone."""
    before = policy._rules, policy._version
    policy._rules, policy._version = RuleSet(), policy._version
    change()
    policy._rules, policy._version = before


@pytest.fixture
def threads(settings: Settings) -> Iterator[None]:
    settings.TRACKING_BACKGROUND_THREAD = True
    yield
    background.stop()


def test_a_change_is_in_force_in_its_own_process_at_once() -> None:
    row = block()
    assert known() == {row.pk}
    blocklist.lift(COMMAND_LINE, proposal("203.0.113.7").target, RuleAction.BLOCK)
    assert known() == set()


def test_a_change_that_is_rolled_back_was_never_in_force() -> None:
    class ChangedHisMind(Exception):
        pass

    def change() -> None:
        with transaction.atomic():
            block()
            policy.look()  # an explanation that is asked for in the midst of it, for example
            raise ChangedHisMind

    with pytest.raises(ChangedHisMind):
        change()
    assert known() == set()
    assert policy.version() == 0
    change_elsewhere(block)  # under the version that was rolled back
    policy.refresh()
    assert known()


def test_what_others_change_is_followed_change_by_change(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    kept = block("198.51.100.0/24")
    rules: list[AccessRule] = []
    change_elsewhere(lambda: rules.append(block()))
    change_elsewhere(lambda: rules.append(block("203.0.113.0/24")))
    assert known() == set()
    with django_assert_num_queries(2):
        policy.refresh()
    assert known() == {row.pk for row in rules}
    assert known("198.51.100.9") == {kept.pk}
    with django_assert_num_queries(1):
        policy.refresh()


def test_a_rule_that_changed_twice_between_two_looks_is_as_it_was_left() -> None:
    about = proposal("203.0.113.7").target

    def on_and_off() -> None:
        block()
        blocklist.lift(COMMAND_LINE, about, RuleAction.BLOCK)

    change_elsewhere(on_and_off)
    policy.refresh()
    assert known() == set()

    def off_and_on() -> None:
        blocklist.lift(COMMAND_LINE, about, RuleAction.BLOCK)
        block()

    old = block()
    change_elsewhere(off_and_on)
    policy.refresh()
    assert known() == {AccessRule.objects.live(timezone.now()).get().pk} != {old.pk}


def test_rules_that_expire_are_forgotten_when_their_end_is_noted() -> None:
    row = block(expires_at=timezone.now() + timedelta(hours=1))
    assert known() == {row.pk}
    change_elsewhere(lambda: blocklist.close_expired(timezone.now() + timedelta(hours=2)))
    policy.refresh()
    assert len(policy.current()) == 0


def test_a_database_that_was_put_back_is_read_anew() -> None:
    first = block("198.51.100.0/24")
    block()
    AccessRule.objects.exclude(pk=first.pk).delete()
    Counter.objects.filter(name=policy.VERSION).update(value=1)
    policy.refresh()
    assert (known(), known("198.51.100.1")) == (set(), {first.pk})


def test_the_last_rules_known_decide_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = block()

    def away() -> None:
        raise DatabaseError("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(policy, "refresh", away)
        for _ in range(3):
            policy.look()
        assert known() == {row.pk}
    assert [record.message for record in caplog.records] == [
        "The rules are as old as they are, since no news can be read: it is away"
    ]
    change_elsewhere(lambda: block("203.0.113.0/24"))
    policy.look()
    assert len(known()) == 2


def test_the_watch_brings_the_changes_of_others_within_a_second(threads: None) -> None:
    background.ensure()
    change_elsewhere(block)
    changed = time.monotonic()
    while not known():
        assert time.monotonic() - changed < 1
        time.sleep(0.01)


def test_the_watch_waits_for_no_writer(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that takes long to empty, or a locked database, holds up no block."""
    monkeypatch.setattr(background.Background, "_round", lambda self: time.sleep(3))
    background.ensure()
    time.sleep(0.3)
    change_elsewhere(block)
    changed = time.monotonic()
    while not known():
        assert time.monotonic() - changed < 1
        time.sleep(0.01)


def test_the_first_request_of_a_process_is_decided_by_fresh_rules(threads: None) -> None:
    """It may have been made ready, or forked, long before."""
    change_elsewhere(block)
    assert not known()
    background.ensure()
    assert known()


def test_a_forked_process_can_look_though_another_thread_was_looking() -> None:
    with policy._lock:
        child = os.fork()
        if not child:
            os._exit(0 if policy._lock.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_without_threads_requests_look_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    change_elsewhere(block)
    monkeypatch.setattr(policy, "_next_look", 0.0)
    policy.current()
    assert known()


def test_without_threads_requests_to_an_event_loop_look_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change_elsewhere(block)
    monkeypatch.setattr(policy, "_next_look", 0.0)

    async def ask() -> None:
        policy.current()

    async_to_sync(ask)()
    assert known()
    assert caplog.records == []


def test_without_threads_nobody_gets_in_while_the_first_rules_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change_elsewhere(block)
    policy.forget()
    reading, go_on = threading.Event(), threading.Event()

    def read() -> RuleSet:
        reading.set()
        assert go_on.wait(5)
        rules = RuleSet()
        rules.put("ADDRESS", "203.0.113.7", Rule(1, RuleAction.BLOCK))
        return rules

    monkeypatch.setattr(policy, "_read", read)
    seen: list[int] = []

    def ask() -> None:
        seen.append(len(policy.current()))
        connection.close()

    askers = [threading.Thread(target=ask) for _ in range(2)]
    askers[0].start()
    assert reading.wait(5)
    askers[1].start()
    time.sleep(0.1)
    assert seen == []
    go_on.set()
    for asker in askers:
        asker.join()
    assert seen == [1, 1]
