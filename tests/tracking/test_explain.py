"""Why a request is let in or refused, told from what live requests meet."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from time_machine import TimeMachineFixture

from tests.schema.book import operator, rule
from tests.schema.record import record, row, told
from tracking import blocklist, conf, geo, limiter, policy
from tracking import explain as module
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_address
from tracking.engine.limits import ClientClass, key_of_address
from tracking.engine.place import Place
from tracking.engine.rules import RuleAction
from tracking.engine.trace import Effect
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Visit
from tracking.explain import QuestionError, Trace, explain, explain_request
from tracking.models import AccessRule, AuditEntry, RequestLog
from tracking.timebudget import OutOfTime, TimeBudget

pytestmark = pytest.mark.django_db

ALLOW = RuleAction.ALLOW


@pytest.fixture(autouse=True)
def counters() -> Iterator[None]:
    limiter._counters().clear()
    yield
    limiter._counters().clear()


def trace(address: str = "198.51.100.7", path: str = "/", method: str = "GET") -> Trace:
    return explain(parse_address(address), TimeBudget(5), path, method)


def effects(found: Trace) -> list[tuple[str, Effect]]:
    return [(step.rule.target, step.effect) for step in found.steps]


def test_who_matches_nothing_is_let_in() -> None:
    found = trace()
    assert (found.verdict.kind, found.because) == (VerdictKind.ALLOWED, "No rule matches.")
    assert (found.steps, found.remedies) == ((), ())


def test_rules_are_told_in_the_order_of_precedence_with_what_becomes_of_them(
    time_machine: TimeMachineFixture,
) -> None:
    rule("198.51.100.7", path="/admin/")
    rule("198.51.100.7", methods=("POST",))
    rule("198.51.100.7", observed=True)
    rule("198.51.100.0/25", expires_at=timezone.now() + timedelta(hours=1))
    wins = rule("198.51.100.0/24")
    rule("198.51.0.0/16")
    time_machine.move_to(timezone.now() + timedelta(hours=2))
    found = trace()
    assert effects(found) == [
        ("198.51.100.7", Effect.OTHER_PATH),
        ("198.51.100.7", Effect.OTHER_METHOD),
        ("198.51.100.7", Effect.OBSERVED),
        ("198.51.100.0/25", Effect.EXPIRED),
        ("198.51.100.0/24", Effect.DECIDES),
        ("198.51.0.0/16", Effect.OUTRANKED),
    ]
    assert (found.verdict.kind, found.verdict.rule) == (VerdictKind.BLOCKED, wins.pk)
    assert f"Rule {wins.pk} (BLOCK 198.51.100.0/24) refuses it" in found.because
    assert found.steps[-1].because == f"Rule {wins.pk} (BLOCK 198.51.100.0/24) comes first."


def test_what_it_says_to_do_lets_the_request_in() -> None:
    rule("198.51.100.0/24", expires_at=timezone.now() + timedelta(hours=1))
    rule("198.51.0.0/16")
    rule("203.0.113.0/24", ALLOW)
    first, lift, lift_wider, allow = trace().remedies
    assert first.startswith("2 targets")
    assert 'unblockIp(input: {address: "198.51.100.0/24"}), or manage.py unblock' in lift
    assert 'allowIp(input: {address: "198.51.100.7"})' in allow
    for remedy in (lift, lift_wider):
        assert trace().verdict.kind is VerdictKind.BLOCKED
        call_command(*remedy.split("manage.py ")[1].split())
        policy.refresh()
    assert trace().verdict.kind is VerdictKind.ALLOWED
    rule("198.51.100.0/24")
    call_command(*allow.split("manage.py ")[1].split())
    policy.refresh()
    assert trace().verdict.kind is VerdictKind.ALLOWED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", ["DE", "AS64496", "AS4200000000", "*"])
@pytest.mark.parametrize("path", ["", "/a/"])
def test_what_it_says_to_do_about_a_region_lets_the_request_in(
    text: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("DE", None, int(text[2:]) if text[2:] else 64496)
    monkeypatch.setattr(geo, "locate", lambda _: place)
    rule("FR", ALLOW)
    rule(text, path=path)
    found = trace("8.8.8.8", path="/a/")
    assert found.verdict.kind is VerdictKind.BLOCKED
    lift = next(remedy for remedy in found.remedies if remedy.startswith("Lift"))
    command = shlex.split(lift.split("manage.py ")[1])
    if text == "*":
        assert any(remedy.endswith("manage.py allow DE") for remedy in found.remedies)
    client = operator()
    mutation = re.search(r"\w+\(input: .*?\}\)", lift)
    assert (mutation is None) is (text == "AS4200000000" or (text == "*" and path != ""))
    if mutation is None:
        call_command(*command)
    else:
        told(client, f"mutation {{ {mutation[0]} {{ errors {{ code }} }} }}")
    policy.refresh()
    assert trace("8.8.8.8", path="/a/").verdict.kind is VerdictKind.ALLOWED


def test_a_rule_that_ends_by_itself_says_when() -> None:
    until = timezone.now() + timedelta(hours=1)
    rule("198.51.100.7", expires_at=until)
    assert f"Wait: it is over by itself at {until:%Y-%m-%d %H:%M:%S} UTC." in trace().remedies


def test_a_scoped_block_of_the_address_itself_is_not_undone_by_allowing_the_address() -> None:
    rule("198.51.100.7", path="/a/")
    found = trace(path="/a/b")
    assert found.verdict.kind is VerdictKind.BLOCKED
    assert not any("allowIp" in remedy for remedy in found.remedies)


def test_what_is_only_observed_is_told_so(settings: Settings) -> None:
    rule("198.51.100.7", observed=True)
    assert trace().verdict.kind is VerdictKind.OBSERVED
    assert "only observed" in trace().because
    rule("198.51.100.0/24")
    settings.TRACKING_ENFORCEMENT = "observe"
    found = trace()
    assert found.verdict.kind is VerdictKind.OBSERVED
    assert "TRACKING_ENFORCEMENT" in found.because


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_is_used_up_refuses_and_asking_counts_nothing(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "3/m", "login_address": "5/m", "signup": "off"}
    key = key_of_address(parse_address("198.51.100.7"), 64)
    limit = conf.current().limits["graphql"]
    for used in range(3):
        (step,) = [step for step in trace(path="/graphql/").limits if step.applies]
        assert step.states[0].remaining == 3 - used
        limiter.check(limit, ClientClass.ANONYMOUS, key)
    found = trace(path="/graphql/")
    assert (found.verdict.kind, found.verdict.limit) == (VerdictKind.LIMITED, "graphql")
    assert "The limit graphql is used up" in found.because
    assert trace(path="/").verdict.kind is VerdictKind.ALLOWED
    call_command(*found.remedies[1].split("manage.py ")[1].split())
    assert trace(path="/graphql/").verdict.kind is VerdictKind.ALLOWED


def test_history_counts_a_day_and_shows_the_last_ten() -> None:
    now = timezone.now()
    facts: dict[str, Any] = {"address": "198.51.100.7", "request_id": "a" * 32}
    record(
        *(row(now - timedelta(minutes=n), **facts) for n in range(12)),
        row(now - timedelta(hours=1), verdict="BLOCKED", **facts),
        row(now - timedelta(hours=25), **facts),
        row(now),
    )
    history = trace().history
    assert history.counts == {VerdictKind.ALLOWED: 12, VerdictKind.BLOCKED: 1}
    assert history.recent is not None
    assert len(history.recent) == 10
    assert history.recent[0].at > history.recent[-1].at


def test_without_time_for_the_history_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_steps", lambda *_: ())
    found = explain(parse_address("198.51.100.7"), TimeBudget(0))
    assert (found.history.counts, found.history.recent) == (None, None)
    monkeypatch.undo()
    with pytest.raises(OutOfTime):
        explain(parse_address("198.51.100.7"), TimeBudget(0))


@pytest.mark.django_db(transaction=True)
def test_a_reference_tells_what_was_decided_then_and_what_would_be_now() -> None:
    made = rule("198.51.100.7", path="/admin/")
    answer = Client(REMOTE_ADDR="198.51.100.7").get("/admin/x%20y/?q=1")
    assert answer.status_code == 403
    call_command("drain")
    reference = answer["X-Request-ID"]
    found = explain_request(reference.upper(), TimeBudget(5))
    assert found.recorded is not None
    assert (found.recorded.verdict, found.recorded.rule_id) == ("BLOCKED", made.pk)
    assert (found.path, found.method) == ("/admin/x y/", "GET")
    assert found.verdict.kind is VerdictKind.BLOCKED
    blocklist.lift_rules(COMMAND_LINE, [made.pk])
    found = explain_request(reference, TimeBudget(5))
    assert found.recorded is not None
    assert (found.recorded.verdict, found.verdict.kind) == ("BLOCKED", VerdictKind.ALLOWED)


@pytest.mark.parametrize("reference", ["", "x", "a" * 5000, "0" * 32, "\x00" * 32, "٠" * 32])
def test_a_reference_nobody_was_told_is_an_error(reference: str) -> None:
    with pytest.raises(QuestionError) as caught:
        explain_request(reference, TimeBudget(5))
    assert caught.value.argument == "reference"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("path", ["", "admin", "/" + "a" * 5000, "/\x00", "/\ud800", "?"])
def test_what_is_no_path_is_an_error(path: str) -> None:
    with pytest.raises(QuestionError, match="Write a path"):
        trace(path=path)


@pytest.mark.parametrize("method", ["", "GET POST", "G" * 5000, "ＧＥＴ", "\x00"])
def test_what_is_no_method_is_an_error(method: str) -> None:
    with pytest.raises(QuestionError, match="method"):
        trace(method=method)


TARGETS = ("8.8.8.8", "8.8.8.0/24", "8.0.0.0/8", "9.9.9.9", "2a00::/32", "2a00::1")


@pytest.mark.parametrize("seed", range(20))
def test_the_verdict_is_that_of_live_requests_for_any_rules(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        scope = {"path": chance.choice(["", "/a/"]), "methods": chance.choice([(), ("POST",)])}
        action, observed = chance.choice(list(RuleAction)), chance.random() < 0.3
        try:
            rule(chance.choice(TARGETS), action, observed=observed, **scope)
        except ValueError:
            continue  # there is one, or what is allowed may not be blocked
    for address in ("8.8.8.8", "8.8.8.9", "8.1.1.1", "9.9.9.9", "2a00::1", "1.1.1.1"):
        for path, method in (("/", "GET"), ("/a/b", "POST"), ("/a/", "HEAD")):
            found = trace(address, path, method)
            visit = Visit(found.at, 0.0, "", parse_address(address), method, "", path, path)
            assert found.verdict == policy.current().decide(visit, found.at)


def test_explaining_changes_nothing() -> None:
    rule("198.51.100.7")
    before = (list(AccessRule.objects.values()), AuditEntry.objects.count(), policy.version())
    trace()
    after = (list(AccessRule.objects.values()), AuditEntry.objects.count(), policy.version())
    assert (before, RequestLog.objects.count()) == (after, 0)


def output(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    call_command("explain_address", *command)
    return capsys.readouterr().out


def test_the_command_shows_the_same_below_the_forwarding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = rule("198.51.100.0/24", methods=("POST",), path="/a/")
    record(row(timezone.now(), address="198.51.100.7", path="/seen/"))
    told = output(capsys, "198.51.100.7", "--path", "/a/b", "--method", "post")
    assert "address:                198.51.100.7 (DOCUMENTATION)\n" in told
    assert f"now:                    BLOCKED: Rule {made.pk} (BLOCK 198.51.100.0/24)" in told
    assert "DECIDES" in told
    assert "manage.py unblock 198.51.100.0/24" in told
    assert "1 ALLOWED" in told
    assert "GET /seen/ 200 ALLOWED" in told
    assert "OTHER_PATH" in output(capsys, "198.51.100.7")


def test_the_command_writes_json_and_takes_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    made = rule("198.51.100.7")
    reference = "ab" * 16
    record(row(address="198.51.100.7", request_id=reference, verdict="BLOCKED", rule_id=made.pk))
    answer = json.loads(output(capsys, "198.51.100.7", "--json"))
    assert (answer["verdict"], answer["rule"]) == ("BLOCKED", made.pk)
    assert answer["steps"][0]["effect"] == "DECIDES"
    assert answer["forwarding"]["address"] == "198.51.100.7 (DOCUMENTATION)"
    answer = json.loads(output(capsys, "--reference", reference, "--json"))
    assert answer["recorded"]["rule"] == made.pk
    assert "then:" in output(capsys, "--reference", reference)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["192.0.2.1", "--reference", "ab" * 16],
        ["--reference", "nonsense\x1b"],
        ["192.0.2.1", "--path", "x"],
        ["192.0.2.1", "--method", "\x1b"],
    ],
    ids=str,
)
def test_the_command_says_what_is_wrong(command: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("explain_address", *command)
    assert "\x1b" not in str(caught.value)


def test_the_command_explains_the_address_while_the_database_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseError("no route")

    monkeypatch.setattr(module, "_history", away)
    with pytest.raises(CommandError, match="cannot be asked"):
        call_command("explain_address", "198.51.100.7")
    assert "address:                198.51.100.7" in capsys.readouterr().out
