"""One strict spelling for each kind of value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.scalars import read_country, read_duration, read_time, written_time


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT1H", timedelta(hours=1)),
        ("P7D", timedelta(days=7)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("P2W", timedelta(weeks=2)),
        ("45s", timedelta(seconds=45)),
        ("15m", timedelta(minutes=15)),
        ("4h", timedelta(hours=4)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("P36500D", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_read(text: str, span: timedelta) -> None:
    assert read_duration(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "", "P", "PT", "P1DT", "1", "1H", "1.5h", "-1h", "PT-1H", "PT0S", "0m", "P36501D",
        "999999999w", "P1Y", "P1M", " 1h", "1h\n", "١h", "PT1e3S", "NaN", "1h30m", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@given(st.datetimes(timezones=st.timezones()).filter(lambda at: 1 < at.year < 9999))
def test_a_time_survives_its_own_text(at: datetime) -> None:
    assert read_time(written_time(at)) == at.astimezone(UTC)


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_the_declared_error(text: str) -> None:
    for read in (read_time, read_duration, read_country):
        try:
            read(text)
        except ValueError as error:
            assert type(error) is ValueError
            assert str(error).isascii()


def test_written_times_sort_like_times() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert written_time(early) < written_time(late)
