"""Trying a detector on the record: what is told, and what is never changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from schema.scalars import written_time
from tests.schema.book import change, client_with
from tests.schema.found import flood
from tests.schema.record import record, refused, row
from tracking.models import AccessRule, AuditEntry, DetectionRun, RequestLog, SuspiciousIP

pytestmark = pytest.mark.django_db

ANSWER = (
    "hours { start flagged blocked userCount users }"
    " targets { address severity count first wouldBlock because userCount users } targetCount"
    " errors { __typename code message path }"
)
QUERY = "mutation M($i: SimulateDetectorInput!) { simulateDetector(input: $i) { targetCount } }"


def runner() -> Client:
    return client_with("run_detection", "view_requestlog")


def simulated(start: datetime, **asked: Any) -> Any:
    facts = {"detector": "flood", "since": written_time(start)} | asked
    return change(runner(), "simulateDetector", ANSWER, **facts)


def mistake(**asked: Any) -> tuple[str, list[str]]:
    payload = simulated(timezone.now() - timedelta(hours=1), **asked)
    (error,) = payload["errors"]
    assert (payload["hours"], payload["targets"], payload["targetCount"]) == ([], [], None)
    assert error["code"] == "INVALID_INPUT"
    assert len(error["message"]) < 300
    return error["message"], error["path"]


def test_other_thresholds_tell_whom_they_would_have_hit_and_change_nothing() -> None:
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    flood(start + timedelta(minutes=30), 300)
    first = RequestLog.objects.earliest("at")
    RequestLog.objects.filter(pk=first.pk).update(user_pk="7", username="ada")
    record(row(start + timedelta(minutes=70), address="8.8.4.4", user_pk="8", username="bob"))
    as_set = simulated(start)
    assert as_set["errors"] == []
    assert [hour["start"] for hour in as_set["hours"]][:3] == [
        written_time(start + timedelta(hours=n)) for n in range(3)
    ]
    assert as_set["hours"][0] | {"start": ""} == {
        "start": "",
        "flagged": 1,
        "blocked": 0,
        "userCount": 0,
        "users": [],
    }
    (target,) = as_set["targets"]
    assert (target["address"], target["count"], target["wouldBlock"]) == ("8.8.4.4", 301, False)
    assert "more for a block" in target["because"]
    stricter = simulated(start, thresholds=[{"name": "block_requests", "value": 200}])
    (target,) = stricter["targets"]
    assert (target["severity"], target["wouldBlock"], target["because"]) == ("HIGH", True, "")
    assert target["users"] == ["ada", "bob"]
    first, second, *_ = stricter["hours"]
    assert (first["flagged"], first["blocked"], first["userCount"]) == (1, 1, 0)
    assert (second["flagged"], second["userCount"], second["users"]) == (0, 1, ["bob"])
    laxer = simulated(start, thresholds=[{"name": "requests", "value": 10_000}])
    assert (laxer["targets"], laxer["targetCount"]) == ([], 0)
    for rows in (AccessRule, SuspiciousIP, DetectionRun, AuditEntry):
        assert not rows.objects.exists()


def test_another_mode_may_be_tried() -> None:
    start = timezone.now() - timedelta(hours=2)
    flood(start + timedelta(minutes=30), 700)
    (target,) = simulated(start)["targets"]
    assert target["wouldBlock"] is True
    (target,) = simulated(start, mode="SUGGEST")["targets"]
    assert (target["wouldBlock"], bool(target["because"])) == (False, True)


def test_only_the_time_that_is_asked_for_is_looked_at() -> None:
    start = timezone.now() - timedelta(hours=5)
    flood(start + timedelta(minutes=30), 700)
    until = written_time(start + timedelta(hours=1))
    assert simulated(start, until=until)["targetCount"] == 1
    assert simulated(start + timedelta(hours=2))["targetCount"] == 0
    assert simulated(start, until="9999-12-31T23:59:59Z")["targetCount"] == 1


@pytest.mark.parametrize("name", ["", "FLOOD", "x" * 5000, "\x00", "mode"])
def test_a_detector_there_is_not_is_an_error(name: str) -> None:
    message, path = mistake(detector=name)
    assert ("flood" in message, path) == (True, ["input", "detector"])


@pytest.mark.parametrize(
    "thresholds",
    [
        [{"name": "mode", "value": 1}],
        [{"name": "", "value": 1}],
        [{"name": "x" * 5000, "value": 1}],
        [{"name": "\x00\u202e", "value": 1}],
        [{"name": "requests", "value": 0}],
        [{"name": "requests", "value": -(2**31)}],
        [{"name": "requests", "value": 2**31 - 1}],
        [{"name": "requests", "value": 1}, {"name": "requests", "value": 2}],
    ],
    ids=lambda given: str(given)[:50],
)
def test_a_threshold_that_does_not_fit_is_an_error(thresholds: list[dict[str, Any]]) -> None:
    _, path = mistake(thresholds=thresholds)
    assert path == ["input", "thresholds"]


def test_the_largest_thresholds_there_may_be_find_nothing() -> None:
    start = timezone.now() - timedelta(hours=2)
    flood(start, 200)
    largest = [{"name": "requests", "value": 10**9}, {"name": "window", "value": 10**9}]
    payload = simulated(start, thresholds=largest)
    assert (payload["errors"], payload["targetCount"]) == ([], 0)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2026-05-17T12:00:00Z", "2026-05-17T12:00:00Z"),
        ("2026-05-17T12:00:00Z", "2026-05-17T11:00:00Z"),
        ("2026-05-17T12:00:00Z", "2026-06-17T12:00:01Z"),
        ("2026-05-17T12:00:00+02:00", "2026-05-17T10:00:00Z"),
    ],
)
def test_a_time_that_does_not_fit_is_an_error(since: str, until: str | None) -> None:
    _, path = mistake(since=since, until=until)
    assert path == ["input", "since"]


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "yesterday"},
        {"since": None},
        {"since": "2026-05-17T12:00:00"},
        {"since": "2026-05-17T12:00:00Z", "mode": "BLOCK"},
        {"since": "2026-05-17T12:00:00Z", "thresholds": [{"name": "requests", "value": 2**31}]},
        {"since": "2026-05-17T12:00:00Z", "thresholds": [{"name": "requests", "value": True}]},
        {"since": "2026-05-17T12:00:00Z", "thresholds": [{"name": "requests"}]},
        {"since": "2026-05-17T12:00:00Z", "detector": None},
    ],
    ids=lambda asked: str(asked)[:90],
)
def test_values_of_the_wrong_kind_are_refused(asked: dict[str, Any]) -> None:
    assert refused(runner(), QUERY, i={"detector": "flood", **asked})[0] == "BAD_USER_INPUT"


def test_what_takes_too_long_is_stopped_and_says_what_to_narrow(settings: Settings) -> None:
    settings.TRACKING_QUERY_TIME_BUDGET = 0.05
    start = timezone.now() - timedelta(days=30)
    flood(start + timedelta(hours=1), 3000)
    since = written_time(start)
    for detector in ("flood", "burst"):
        code, message = refused(runner(), QUERY, i={"detector": detector, "since": since})
        assert (code, "shorter time" in message) == ("QUERY_TOO_COSTLY", True)


@pytest.mark.parametrize("held", ["run_detection", "view_requestlog"])
def test_it_takes_both_permissions_as_it_names_users(held: str) -> None:
    asked = {"detector": "flood", "since": written_time(timezone.now() - timedelta(hours=1))}
    assert refused(client_with(held), QUERY, i=asked)[0] == "FORBIDDEN"
