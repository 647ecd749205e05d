"""Durations and targets as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tracking.engine.ruletext import FOREVER, read_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("15m", timedelta(minutes=15)),
        (" 4H ", timedelta(hours=4)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        (FOREVER.upper(), None),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta | None) -> None:
    assert read_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4 hours", "^'4 hours' is no duration: write it like 15m, 4h, 7d or 2w$"),
        ("9999w", "^'9999w' is longer than anybody can wait$"),
        ("999999999w", "^'999999999w' is longer than anybody can wait$"),
    ],
)
def test_what_is_no_duration_is_refused_in_words(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_duration(text)
