"""What findings that come again do to a suspicion, to its suggestion and to its block."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import detection, drainer, journal, reviews, signals, tally
from tracking.audit import Actor
from tracking.models import AccessRule, SuspiciousIP

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
CLIENT = "198.51.100.7"
ATTACK = "/cgi-bin/../../../../etc/passwd"


@pytest.fixture(autouse=True)
def nothing_noticed_yet() -> None:
    tally.reset()


def requests(number: int, end: datetime, address: str = CLIENT, path: str = "/") -> None:
    for n in reversed(range(number)):
        at = (end - timedelta(seconds=n)).isoformat(" ").removesuffix("+00:00")
        identity = os.urandom(16).hex()
        journal.mine().append(
            HARMLESS._replace(at=at, address=address, path=path, request_id=identity)
        )
    drainer.drain()


def only() -> SuspiciousIP:
    return SuspiciousIP.objects.get()


def test_what_is_observed_already_is_not_suggested(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"requests": 5, "block_requests": 5, "mode": "OBSERVE"}}
    for minutes in (3, 2, 1):
        requests(6, NOW - minutes * MINUTE)
        detection.run(NOW - minutes * MINUTE)
    rule = AccessRule.objects.get()
    assert rule.observed
    assert not only().is_suggested
    assert only().rule == rule
    assert only().because == "the target is observed already"


def test_a_milder_finding_takes_no_suggestion_back(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {
        "flood": {"requests": 5, "block_requests": 20, "window": 60, "mode": "SUGGEST"}
    }
    told: list[object] = []

    def hear(suspicion: SuspiciousIP, **_: object) -> None:
        told.append(suspicion.pk)

    signals.block_suggested.connect(hear)
    try:
        for number, minutes in ((25, 9), (8, 6), (25, 3)):
            requests(number, NOW - minutes * MINUTE)
            detection.run(NOW - minutes * MINUTE)
            assert only().is_suggested
            assert only().duration == timedelta(hours=1)
    finally:
        signals.block_suggested.disconnect(hear)
    assert told == [only().pk]


def test_a_suggestion_ends_when_its_target_is_allowed_or_blocked(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"signatures": {"mode": "SUGGEST"}}
    requests(1, NOW - 3 * MINUTE, path=ATTACK)
    detection.run(NOW - 3 * MINUTE)
    assert only().is_suggested
    settings.TRACKING_DETECTORS = {}
    requests(1, NOW - 2 * MINUTE, path=ATTACK)
    detection.run(NOW - 2 * MINUTE)
    assert not only().is_suggested
    assert only().rule is not None


def test_a_block_that_was_found_false_makes_nobody_a_repeat_offender(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"requests": 5, "block_requests": 5}}
    requests(1, NOW - 9 * MINUTE, path=ATTACK)
    detection.run(NOW - 9 * MINUTE)
    reviews.review(Actor("ana"), only().pk, SuspiciousIP.Status.FALSE_POSITIVE)
    requests(9, NOW)
    detection.run(NOW)
    rule = AccessRule.objects.get(ended_at=None)
    assert rule.expires_at == NOW + timedelta(hours=1)


def test_a_lower_threshold_for_blocks_holds_below_that_for_findings(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"requests": 100, "block_requests": 5}}
    requests(6, NOW)
    detection.run(NOW)
    assert (only().count, only().threshold) == (6, 5)
    assert only().rule is not None
