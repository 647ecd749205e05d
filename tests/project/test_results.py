"""The page of results says what was measured, and its plots are there to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import PLOTS, render

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = json.loads((DOCS / "results.json").read_text())
PAGE = (DOCS / "results.md").read_text()
FILES = [file for plots in PLOTS.values() for file, _ in plots]


def test_the_page_is_written_from_its_figures() -> None:
    assert render(PAGE, DATA) == PAGE
    assert "Not measured" not in PAGE


def test_a_goal_that_is_missed_is_said_at_the_top_and_in_its_section() -> None:
    goal = {"what": "waiting", "found": 31.4, "bound": 5, "unit": "s", "at_least": False}
    runs = {name: run | {"goals": [goal | {"met": False}]} for name, run in DATA["runs"].items()}

    page = render(PAGE, DATA | {"runs": runs})

    assert f"0 of {len(runs)} goals are met." in page
    assert page.count("- MISSED: waiting: 31.4 s, goal at most 5 s") == 2 * len(runs)


@pytest.mark.parametrize("file", FILES)
def test_a_plot_is_small_has_a_title_and_keeps_its_text(file: str) -> None:
    image = (DOCS / "images" / f"{file}.svg").read_text()

    assert len(image) < 100_000
    assert "<title>" in image
    assert image.count("<text") > 10
    assert "<dc:date>" not in image
