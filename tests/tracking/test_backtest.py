"""What a backtest tells: what other thresholds would have found and blocked, and nothing done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import blocklist, detection, drainer, journal, reviews, tally
from tracking.audit import COMMAND_LINE, Actor
from tracking.backtest import Backtest, Suspect, simulate
from tracking.engine.address import parse_network
from tracking.engine.findings import Severity
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.engine.visit import Record
from tracking.models import AccessRule, AuditEntry, Counter, DetectionRun, RequestLog, SuspiciousIP
from tracking.proposals import Proposal
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
HOUR = timedelta(hours=1)
CLIENT = "198.51.100.7"
ATTACK = "/cgi-bin/../../../../etc/passwd"
EAGER = {"flood": {"requests": 10, "block_requests": 10}}


@pytest.fixture(autouse=True)
def nothing_noticed_yet() -> None:
    tally.reset()


def record(records: Iterable[Record]) -> None:
    for each in records:
        journal.mine().append(each)
    drainer.drain()


def request(at: datetime, address: str = CLIENT, **facts: object) -> Record:
    written = at.isoformat(" ").removesuffix("+00:00")
    return HARMLESS._replace(at=written, address=address, request_id=os.urandom(16).hex(), **facts)


def requests(
    number: int, start: datetime, step: float = 30, address: str = CLIENT, **facts: object
) -> list[Record]:
    return [request(start + timedelta(seconds=step * n), address, **facts) for n in range(number)]


def flood(changes: object = EAGER, hours: int = 24) -> Backtest:
    return simulate(["flood"], changes, DAY, DAY + hours * HOUR)  # type: ignore[arg-type]


def only(told: Backtest) -> Suspect:
    (suspect,) = told.targets
    return suspect


def test_other_thresholds_tell_what_they_would_have_found_and_blocked() -> None:
    record(requests(30, DAY + 3 * HOUR))
    assert flood({}).targets == ()
    flagged = only(flood({"flood": {"requests": 29}}))
    assert (flagged.target, flagged.detector, flagged.count) == (CLIENT, "flood", 30)
    assert flagged.first == DAY + 3 * HOUR
    assert not flagged.would_block
    assert flagged.because == "it takes more for a block"
    blocked = only(flood({"flood": {"requests": 10, "block_requests": 29}}))
    assert blocked.would_block
    assert blocked.severity is Severity.HIGH
    assert blocked.because == ""
    assert flood({"flood": {"requests": 30}}).targets == ()


def test_each_hour_tells_what_was_flagged_and_blocked_in_it() -> None:
    record(requests(11, DAY + 3 * HOUR))
    record(requests(11, DAY + 5 * HOUR, address="198.51.100.8"))
    told = flood(hours=8)
    assert [hour.start for hour in told.hours] == [DAY + n * HOUR for n in range(8)]
    assert [hour.flagged for hour in told.hours] == [0, 0, 0, 1, 0, 1, 0, 0]
    assert [hour.blocked for hour in told.hours] == [0, 0, 0, 1, 0, 1, 0, 0]


def test_a_stretch_across_two_hours_of_the_clock_counts_once() -> None:
    record(requests(12, DAY + 3 * HOUR - timedelta(minutes=2, seconds=45)))
    assert [hour.flagged for hour in flood(hours=6).hours] == [0, 0, 0, 1, 0, 0]


def test_hours_are_cut_where_the_time_begins_and_ends() -> None:
    start, end = DAY + timedelta(minutes=30), DAY + timedelta(hours=2, minutes=15)
    record([*requests(11, start - timedelta(minutes=20)), *requests(11, end)])
    told = simulate(["flood"], EAGER, start, end)
    assert [hour.start for hour in told.hours] == [start, DAY + HOUR, DAY + 2 * HOUR]
    assert told.targets == ()


def test_whoever_would_be_blocked_is_not_counted_until_the_block_is_over() -> None:
    record(requests(11, DAY + 3 * HOUR))  # blocked for an hour from 3:05 on
    record(requests(11, DAY + 4 * HOUR, step=20))  # would have been refused
    record(requests(11, DAY + 4 * HOUR + timedelta(minutes=10)))  # blocked for four hours
    record(requests(11, DAY + 7 * HOUR))  # would have been refused
    record(requests(11, DAY + 9 * HOUR))
    told = simulate(["flood"], EAGER, DAY, DAY + 24 * HOUR)
    assert [n for n, hour in enumerate(told.hours) if hour.flagged] == [3, 4, 9]
    assert sum(hour.blocked for hour in told.hours) == 3


def test_a_block_that_is_far_back_does_not_make_the_next_one_longer(settings: Settings) -> None:
    settings.TRACKING_BLOCK_MEMORY = timedelta(hours=2)
    for hour in (3, 6, 8):
        record(requests(11, DAY + hour * HOUR))
    assert [n for n, hour in enumerate(flood().hours) if hour.blocked] == [3, 6, 8]


def test_what_one_detector_would_block_no_other_finds_later() -> None:
    record([request(DAY + 3 * HOUR, path=ATTACK, status=404)])
    record(requests(11, DAY + 3 * HOUR + timedelta(minutes=1)))
    told = simulate(["signatures", "flood"], EAGER, DAY, DAY + 24 * HOUR)
    assert only(told).detector == "signatures"


def test_signed_in_users_are_named_with_the_hours_that_would_have_refused_them() -> None:
    start = DAY + 3 * HOUR
    record([request(start, user_pk="7", username="ana"), *requests(11, start)])
    record([request(start + timedelta(minutes=62), user_pk="8", username="ben")])
    record([request(start + timedelta(hours=3), user_pk="9", username="eva")])
    record([request(start, "192.0.2.99", user_pk="10", username="zoe")])
    told = flood(hours=8)
    assert only(told).users == ("ana", "ben", "eva")
    assert [hour.users for hour in told.hours if hour.users] == [("ben",)]


def test_nothing_is_written_or_moved() -> None:
    record([*requests(30, DAY + 3 * HOUR), request(DAY, path=ATTACK, status=404)])
    detection.watermark()
    before = everything()
    told = simulate([], EAGER, DAY, DAY + 24 * HOUR)
    assert {one.detector for one in told.targets} >= {"flood", "signatures"}
    assert everything() == before


def everything() -> list[object]:
    models = (RequestLog, SuspiciousIP, AccessRule, AuditEntry, Counter, DetectionRun)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_private_addresses_are_flagged_and_not_blocked() -> None:
    record(requests(11, DAY, address="10.0.0.4"))
    suspect = only(flood())
    assert not suspect.would_block
    assert "not a public address" in suspect.because


def test_addresses_of_colleagues_and_allowed_ones_would_not_be_blocked() -> None:
    boss = User.objects.create_superuser("boss", password=os.urandom(16).hex())
    record([request(DAY, user_pk=str(boss.pk), username="boss")])
    record(requests(11, DAY + HOUR))
    record(requests(11, DAY + HOUR, address="198.51.100.8"))
    target = target_of_network(parse_network("198.51.100.8"))
    blocklist.allow(COMMAND_LINE, Proposal(target=target, action=RuleAction.ALLOW))
    told = {one.target: one for one in flood().targets}
    assert "signed in" in told[CLIENT].because
    assert told["198.51.100.8"].because == "the target is allowed"
    assert not any(one.would_block for one in told.values())


def test_what_a_person_called_false_would_not_be_blocked() -> None:
    now = datetime.now(UTC)
    record(requests(11, now - timedelta(minutes=10)))
    record([request(now - timedelta(minutes=1), path=ATTACK, status=404)])
    detection.run(now)
    row = SuspiciousIP.objects.get(detector="signatures")
    reviews.review(Actor("ana"), row.pk, SuspiciousIP.Status.FALSE_POSITIVE)
    told = simulate(["signatures"], {}, now - HOUR, now)
    assert only(told).because == "a person has looked at this before"


def test_a_block_in_the_book_of_today_does_not_hide_what_would_be_blocked() -> None:
    record(requests(11, DAY))
    target = target_of_network(parse_network(CLIENT))
    proposal = Proposal(target=target, action=RuleAction.BLOCK)
    blocklist.block(COMMAND_LINE, proposal)
    assert only(flood()).would_block


def test_a_mode_can_be_tried_too() -> None:
    record(requests(11, DAY))
    change = {"flood": {**EAGER["flood"], "mode": "SUGGEST"}}
    suspect = only(flood(change))
    assert (suspect.would_block, suspect.because) == (False, "its mode is SUGGEST")


def test_a_detector_that_is_off_is_tried_only_when_named(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"mode": "OFF"}}
    record(requests(11, DAY))
    assert simulate([], EAGER, DAY, DAY + HOUR).targets == ()
    assert not only(flood()).would_block
    change = {"flood": {**EAGER["flood"], "mode": "ENFORCE"}}
    assert only(flood(change)).would_block


def test_progress_is_told_hour_by_hour() -> None:
    told: list[tuple[int, int]] = []
    simulate(["flood"], {}, DAY, DAY + 3 * HOUR, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (["floods"], {}, "There is no detector 'floods'"),
        ([], {"floods": {}}, "There is no detector 'floods'"),
        (["flood"], {"burst": {"requests": 3}}, "burst is changed, but not among"),
        ([], {"flood": {"request": 3}}, "'request' is none of mode, requests"),
        ([], {"flood": {"requests": 0}}, "not a number above 0"),
        ([], {"flood": {"requests": True}}, "not a number above 0"),
        ([], {"flood": {"mode": "BLOCK"}}, "none of OFF"),
    ],
)
def test_what_cannot_be_tried_is_said(names: list[str], changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulate(names, changes, DAY, DAY + HOUR)


@pytest.mark.parametrize("length", [timedelta(0), -HOUR, timedelta(days=32)])
def test_a_time_that_makes_no_sense_is_refused(length: timedelta) -> None:
    with pytest.raises(ValueError, match="must end after it begins"):
        simulate([], {}, DAY, DAY + length)
