"""Detection over GraphQL: detectors and their modes, runs, and whether they keep up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from time_machine import TimeMachineFixture

from schema.scalars import written_time
from tests.schema.book import change, client_with
from tests.schema.found import flood, suspicion
from tests.schema.record import NOON, ask, record, refused, row, told
from tracking import backlog, detection
from tracking.detectors import DETECTORS
from tracking.models import (
    AccessRule,
    AuditEntry,
    Counter,
    DetectionRun,
    DetectorMode,
    RequestLog,
    SuspiciousIP,
)

pytestmark = pytest.mark.django_db

SHOWN = (
    "name description thresholds { name value } modes { severity mode }"
    " change { mode changedBy changedAt } openSuspicions"
)
MODE = f"detector {{ {SHOWN} }} errors {{ code message path }}"
STATE = "{ detectionState { lastRun { id } nextRunAt waitingSince isLate } }"
RUNS = """query Q($f: DetectionRunFilter, $first: Int, $after: String) {
    detectionRuns(filter: $f, first: $first, after: $after) {
        nodes { id startedAt trigger findings } pageInfo { hasNextPage endCursor } } }"""
RUN = (
    "run { id trigger findings raised blocked suggested examinedFrom examinedTo durationMs }"
    " planned { address detector severity reason count threshold windowStart windowEnd response"
    " duration because } plannedCount errors { __typename code message path }"
)


def analyst() -> Client:
    return client_with("view_detectionrun")


def runner() -> Client:
    return client_with("run_detection", "view_suspiciousip")


def detectors() -> dict[str, dict[str, Any]]:
    shown = told(analyst(), f"{{ detectors {{ {SHOWN} }} }}")["detectors"]
    return {each["name"]: each for each in shown}


def modes(detector: dict[str, Any]) -> dict[str, str]:
    return {each["severity"]: each["mode"] for each in detector["modes"]}


def run(started: float, **columns: Any) -> DetectionRun:
    """Return a run that began so many seconds after noon."""
    at = NOON + timedelta(seconds=started)
    facts = {"now": at, "started_at": at, "trigger": "", "after_row": 0, "upto_row": 0}
    return DetectionRun.objects.create(**(facts | columns))


def test_every_detector_says_what_it_looks_for_and_what_follows() -> None:
    suspicion("192.0.2.1", detector="flood")
    suspicion("192.0.2.2", detector="flood")
    suspicion("192.0.2.3", detector="flood", status="CONFIRMED")
    shown = detectors()
    assert list(shown) == [detector.name for detector in DETECTORS]
    assert all(each["description"] for each in shown.values())
    flood_ = shown["flood"]
    assert {"name": "requests", "value": 100} in flood_["thresholds"]
    assert modes(flood_) == dict.fromkeys(("LOW", "MEDIUM", "HIGH"), "ENFORCE")
    assert [each["severity"] for each in flood_["modes"]] == ["LOW", "MEDIUM", "HIGH"]
    assert (flood_["change"], flood_["openSuspicions"]) == (None, 2)
    assert shown["burst"]["openSuspicions"] == 0


def test_the_settings_show_in_thresholds_and_modes(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"requests": 7, "mode": {"HIGH": "OBSERVE"}}}
    shown = detectors()["flood"]
    assert {"name": "requests", "value": 7} in shown["thresholds"]
    assert modes(shown) == {"LOW": "ENFORCE", "MEDIUM": "ENFORCE", "HIGH": "OBSERVE"}


def test_a_mode_is_set_and_left_to_the_settings_again_and_both_are_on_record() -> None:
    client = client_with("run_detection", "view_detectionrun")
    made = change(client, "setDetectorMode", MODE, detector="flood", mode="SUGGEST", reason="try")
    assert made["errors"] == []
    assert set(modes(made["detector"]).values()) == {"SUGGEST"}
    assert made["detector"]["change"]["mode"] == "SUGGEST"
    assert made["detector"]["change"]["changedBy"] == "operator"
    assert detectors()["flood"]["change"]["mode"] == "SUGGEST"
    client = client_with("run_detection")
    change(client, "setDetectorMode", MODE, detector="flood", mode="SUGGEST")  # says nothing new
    made = change(client, "setDetectorMode", MODE, detector="flood", mode=None, reason="enough")
    assert made["detector"]["change"] is None
    assert set(modes(made["detector"]).values()) == {"ENFORCE"}
    entries = AuditEntry.objects.order_by("pk")
    assert [(e.actor, e.action, e.target, e.reason, e.before, e.after) for e in entries] == [
        ("operator", "set_detector_mode", "flood", "try", {"mode": None}, {"mode": "SUGGEST"}),
        ("operator", "set_detector_mode", "flood", "enough", {"mode": "SUGGEST"}, {"mode": None}),
    ]


@pytest.mark.parametrize(
    ("mode", "suggested", "blocks"), [("SUGGEST", True, 0), ("ENFORCE", False, 1), ("OFF", None, 0)]
)
def test_the_next_run_goes_by_the_mode_that_was_set(
    mode: str, suggested: bool | None, blocks: int
) -> None:
    change(client_with("run_detection"), "setDetectorMode", MODE, detector="flood", mode=mode)
    now = timezone.now()
    flood(now)
    detection.run(now)
    found = SuspiciousIP.objects.filter(detector="flood").values_list("is_suggested", flat=True)
    assert list(found) == ([] if suggested is None else [suggested])
    assert AccessRule.objects.filter(reason__startswith="flood").count() == blocks


@pytest.mark.parametrize("name", ["", "Flood", "flood ", "ｆｌｏｏｄ", "x" * 5000, "a\x00", "mode"])
@pytest.mark.parametrize("mode", ["OFF", None])
def test_a_detector_there_is_not_is_an_error(name: str, mode: str | None) -> None:
    payload = change(
        client_with("run_detection"), "setDetectorMode", MODE, detector=name, mode=mode
    )
    (error,) = payload["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "detector"])
    assert "flood" in error["message"]
    assert len(error["message"]) < 300
    assert not DetectorMode.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("mode", ["off", "BLOCK", "", 7, ["OFF"]])
def test_a_mode_there_is_not_is_refused(mode: Any) -> None:
    query = (
        "mutation M($i: SetDetectorModeInput!) { setDetectorMode(input: $i) { errors { code } } }"
    )
    code, _ = refused(client_with("run_detection"), query, i={"detector": "flood", "mode": mode})
    assert code == "BAD_USER_INPUT"


def test_a_run_by_hand_finds_blocks_and_says_by_whom() -> None:
    now = timezone.now()
    flood(now)
    payload = change(runner(), "runDetection", RUN)
    assert payload["errors"] == []
    assert (payload["planned"], payload["plannedCount"]) == (None, None)
    made = payload["run"]
    assert made["trigger"] == "by operator"
    assert made["findings"] >= made["raised"] >= made["blocked"] == 1
    assert made["examinedTo"] >= written_time(now)
    assert AccessRule.objects.get().target == "8.8.4.4"
    again = change(runner(), "runDetection", RUN)["run"]
    assert (again["findings"], again["examinedFrom"]) == (0, None)
    assert AccessRule.objects.count() == 1


def test_a_dry_run_says_what_a_run_would_do_and_changes_nothing() -> None:
    flood(timezone.now())
    payload = change(runner(), "runDetection", RUN, dryRun=True)
    assert (payload["run"], payload["errors"]) == (None, [])
    assert payload["plannedCount"] == len(payload["planned"]) >= 1
    found = next(each for each in payload["planned"] if each["detector"] == "flood")
    assert (found["address"], found["count"], found["threshold"]) == ("8.8.4.4", 700, 100)
    assert (found["severity"], found["response"]) == ("HIGH", "ENFORCE")
    assert found["duration"] == "P0DT01H00M00S"
    assert not AccessRule.objects.exists()
    assert not SuspiciousIP.objects.exists()
    assert not DetectionRun.objects.exists()
    assert change(runner(), "runDetection", RUN)["run"]["blocked"] == 1


def test_a_dry_run_shows_suspicions_and_takes_the_permission_to_see_them() -> None:
    query = "mutation { runDetection(input: {dryRun: true}) { plannedCount } }"
    code, message = refused(client_with("run_detection"), query)
    assert (code, "tracking.view_suspiciousip" in message) == ("FORBIDDEN", True)


def test_a_dry_run_that_takes_too_long_says_what_else_to_ask(settings: Settings) -> None:
    settings.TRACKING_QUERY_TIME_BUDGET = 0.05
    flood(timezone.now(), 12_000)
    query = "mutation { runDetection(input: {dryRun: true}) { plannedCount } }"
    code, message = refused(runner(), query)
    assert (code, "manage.py detect --dry-run" in message) == ("QUERY_TOO_COSTLY", True)


def test_a_run_beside_another_is_a_typed_error() -> None:
    Counter.objects.create(name=detection.LEASE, value=1, updated_at=timezone.now())
    payload = change(runner(), "runDetection", RUN)
    assert payload["run"] is None
    (error,) = payload["errors"]
    assert (error["__typename"], error["code"]) == ("AlreadyRunningError", "ALREADY_RUNNING")
    Counter.objects.filter(name=detection.LEASE).update(
        updated_at=F("updated_at") - timedelta(hours=1)
    )
    assert change(runner(), "runDetection", RUN)["errors"] == []


def test_runs_are_listed_the_newest_first_page_by_page() -> None:
    for n in range(5):
        run(n * 60, findings=n % 2, trigger="every minute")
    seen, after = [], None
    while True:
        page = told(analyst(), RUNS, first=2, after=after)["detectionRuns"]
        seen += [node["startedAt"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == [written_time(NOON + timedelta(minutes=n)) for n in (4, 3, 2, 1, 0)]
    nodes = told(analyst(), RUNS, f={"found": True})["detectionRuns"]["nodes"]
    assert [node["findings"] for node in nodes] == [1, 1]
    nodes = told(analyst(), RUNS, f={"found": False})["detectionRuns"]["nodes"]
    assert [node["findings"] for node in nodes] == [0, 0, 0]
    span = {"gte": "2026-05-17T12:01:00Z", "lt": "2026-05-17T12:03:00Z"}
    assert len(told(analyst(), RUNS, f={"startedAt": span})["detectionRuns"]["nodes"]) == 2
    found = "query Q($id: ID!) { node(id: $id) { ... on DetectionRun { id trigger } } }"
    node = told(analyst(), found, id=nodes[0]["id"])["node"]
    assert node == {"id": nodes[0]["id"], "trigger": "every minute"}


@pytest.mark.parametrize(
    "asked",
    [{"first": 0}, {"first": 101}, {"after": "x"}, {"f": {"startedAt": {"gte": "noon"}}}],
    ids=str,
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any]) -> None:
    assert refused(analyst(), RUNS, **asked)[0] == "BAD_USER_INPUT"


def test_before_the_first_run_nothing_is_late() -> None:
    state = told(analyst(), STATE)["detectionState"]
    assert state == {"lastRun": None, "nextRunAt": None, "waitingSince": None, "isLate": False}


def test_the_next_run_is_due_at_the_full_minute_after_the_last() -> None:
    run(3590, duration_ms=500)
    last = run(3599, duration_ms=1500)
    state = told(analyst(), STATE)["detectionState"]
    assert state["nextRunAt"] == "2026-05-17T13:01:00.000000Z"
    assert told(analyst(), RUNS)["detectionRuns"]["nodes"][0]["id"] == state["lastRun"]["id"]
    assert last.pk == DetectionRun.objects.latest("pk").pk


def test_detection_is_late_when_requests_wait_and_no_run_comes(
    time_machine: TimeMachineFixture,
) -> None:
    record(row(0))
    came = RequestLog.objects.get().recorded_at
    for minutes, late in ((0, False), (4.9, False), (5.1, True), (600, True)):
        time_machine.move_to(came + timedelta(minutes=minutes), tick=False)
        state = told(analyst(), STATE)["detectionState"]
        assert state["waitingSince"] == written_time(came)
        assert state["isLate"] is late, minutes
    detection.run(timezone.now())
    state = told(analyst(), STATE)["detectionState"]
    assert (state["waitingSince"], state["isLate"]) == (None, False)
    time_machine.shift(timedelta(days=1))
    assert told(analyst(), STATE)["detectionState"]["isLate"] is False


def test_a_run_that_came_and_left_something_is_not_late_yet() -> None:
    record(row(0))
    RequestLog.objects.update(recorded_at=NOON)
    run(3600)
    Counter.objects.filter(name=detection.WATERMARK).delete()
    assert backlog.of(NOON + timedelta(minutes=64)).is_late is False
    assert backlog.of(NOON + timedelta(minutes=66)).is_late is True


@pytest.mark.parametrize("field", ["detectors { name }", "detectionState { isLate }"])
def test_what_analysts_see_takes_their_permission(field: str) -> None:
    answer = ask(client_with("view_suspiciousip"), f"{{ {field} serverInfo {{ name }} }}")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert answer["data"]["serverInfo"]["name"]
