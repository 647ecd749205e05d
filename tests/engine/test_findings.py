"""What is done about a finding, where moments are densest, and how thresholds are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tracking.engine.address import parse_network
from tracking.engine.findings import (
    LATE,
    Finding,
    Mode,
    Peak,
    Response,
    Severity,
    Standing,
    busiest,
    read_change,
    respond,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODES = {Severity.LOW: Mode.OBSERVE, Severity.MEDIUM: Mode.SUGGEST, Severity.HIGH: Mode.ENFORCE}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TARGET = parse_network("203.0.113.7")


def answered(standing: Standing, *, end: datetime = NOW, **more: bool) -> Response:
    finding = Finding("flood", TARGET, Severity.HIGH, "too many", 9, 5, end - HOUR, end)
    return respond(finding, standing, MODES, (HOUR, DAY), NOW, **more)


def test_who_comes_again_is_blocked_for_longer_and_never_beyond_the_list() -> None:
    blocks = [answered(Standing(earlier_blocks=earlier)).duration for earlier in (0, 1, 9)]
    assert blocks == [HOUR, DAY, DAY]


def test_only_a_detector_that_counts_may_be_wrong_about_a_crawler() -> None:
    crawler = Standing(is_crawler=True)
    assert answered(crawler) == Response(Mode.ENFORCE, HOUR)
    doubted = answered(crawler, counts_only=True)
    assert doubted == Response(Mode.SUGGEST, HOUR, "it declares itself as a crawler")


@pytest.mark.parametrize(
    ("standing", "because"),
    [
        (Standing(is_exempt=True), "a person has looked at this before"),
        (Standing(is_allowed=True), "the target is allowed"),
        (Standing(is_blocked=True), "the target is blocked already"),
    ],
)
def test_what_is_settled_is_left_alone_and_says_why(standing: Standing, because: str) -> None:
    assert answered(standing) == Response(Mode.OFF, None, because)


def test_a_window_may_lead_to_a_block_for_an_hour_and_no_longer() -> None:
    assert answered(Standing(), end=NOW - LATE).mode is Mode.ENFORCE
    assert answered(Standing(), end=NOW - LATE - timedelta(seconds=1)).mode is Mode.OFF


def test_the_last_stretch_that_is_too_dense_is_told_with_the_most_of_any() -> None:
    moments = [NOW + timedelta(seconds=second) for second in (0, 1, 2, 3, 60, 61, 62, 200)]
    width = timedelta(seconds=3)
    assert busiest(moments, width, 2) == Peak(4, 6, 4)
    assert busiest(moments, width, 4) is None
    assert busiest(moments, width, 1, list("aaabcdcd")) == Peak(4, 6, 2)


def test_a_change_names_detector_threshold_and_value() -> None:
    assert read_change("flood.requests=200") == ("flood", "requests", 200)
    assert read_change("flood.mode=SUGGEST") == ("flood", "mode", "SUGGEST")


@pytest.mark.parametrize("text", ["", "flood", "flood.requests", "flood.requests=-1", "a.b=1\n"])
def test_what_is_no_change_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like flood\.requests=200") as refusal:
        read_change(text)
    assert str(refusal.value).startswith(f"{text!r}: ")
