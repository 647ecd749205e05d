"""What is done about a finding, where moments are densest, and how thresholds are written."""

from __future__ import annotations

import pytest

from tracking.engine.findings import read_change


def test_a_change_names_detector_threshold_and_value() -> None:
    assert read_change("flood.requests=200") == ("flood", "requests", 200)
    assert read_change("flood.mode=SUGGEST") == ("flood", "mode", "SUGGEST")


@pytest.mark.parametrize("text", ["", "flood", "flood.requests", "flood.requests=-1", "a.b=1\n"])
def test_what_is_no_change_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like flood\.requests=200") as refusal:
        read_change(text)
    assert str(refusal.value).startswith(f"{text!r}: ")
