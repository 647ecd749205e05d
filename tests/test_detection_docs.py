"""What docs/detection.md says of detectors and signatures is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracking import conf, detection
from tracking.backtest import LONGEST
from tracking.detectors import DETECTORS
from tracking.detectors.detector import Detector
from tracking.engine import sensitive
from tracking.engine.families import FAMILIES, Family
from tracking.engine.findings import LATE, Mode, Severity
from tracking.models import SuspiciousIP

PAGE = (Path(__file__).parents[1] / "docs" / "detection.md").read_text()


def lines(head: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with a word."""
    table = PAGE[PAGE.index(f"\n| {head} |") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_every_detector_has_its_line_with_its_thresholds_and_modes(detector: Detector) -> None:
    (line,) = [cells for cells in lines("detector") if cells[0] == f"`{detector.name}`"]
    _, finds, thresholds, modes = line
    assert thresholds == ", ".join(f"`{name}` {n}" for name, n in detector.thresholds.items())
    assert modes == words(detector)
    named = set(re.findall(r"`([a-z_]+)`", finds))
    assert named <= set(detector.thresholds)
    assert named >= set(detector.thresholds) - {"window", "deviations"}


def words(detector: Detector) -> str:
    modes = {str(detector.modes[severity]) for severity in Severity}
    if len(modes) == 1:
        return modes.pop()
    assert detector.modes[Severity.LOW] == detector.modes[Severity.MEDIUM]
    return f"HIGH {detector.modes[Severity.HIGH]}, else {detector.modes[Severity.LOW]}"


def test_no_line_is_about_a_detector_that_is_not_there() -> None:
    assert [cells[0] for cells in lines("detector")] == [f"`{each.name}`" for each in DETECTORS]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_its_line(family: Family) -> None:
    assert [f"`{family.name}`", family.description, str(family.severity)] in lines("tag")


def test_the_tables_name_every_family_mode_and_status_and_no_others() -> None:
    assert len(lines("tag")) == len(FAMILIES)
    assert [cells[0] for cells in lines("mode")] == list(Mode)
    assert [cells[0] for cells in lines("status")] == SuspiciousIP.Status.values


def test_the_sensitive_paths_and_fields_are_those_of_the_code() -> None:
    section = PAGE.partition("## Sensitive paths and fields")[2].partition("\n## ")[0]
    for word in (*sensitive.PATHS, *sensitive.FIELDS):
        assert f"`{word}`" in section


def test_the_times_and_numbers_of_the_page_are_those_of_the_code() -> None:
    defaults = conf.Configuration(state_dir=Path())
    hours = [duration.total_seconds() / 3600 for duration in defaults.block_durations]
    assert hours == [1, 4, 24, 7 * 24]
    assert "1 hour, the next 4 hours, 24 hours, and 7 days from then on" in PAGE
    assert f"count for {defaults.block_memory.days} days" in PAGE
    assert LATE.total_seconds() == 3600
    assert f"up to {detection.MOST_ROWS:,} rows" in PAGE
    assert f"transactions of {detection.TOGETHER}" in PAGE
    assert detection.LEASE_TIME.total_seconds() == 60
    assert LONGEST.days == 31


def test_the_sums_of_the_table_of_actors_are_right() -> None:
    rows = [cells for cells in lines("actors") if cells[0]]
    sums = next(cells for cells in rows if "all that attack" in cells[0])
    attackers = rows[: rows.index(sums)]
    for column in (1, 2, 3):
        assert int(sums[column].strip("*")) == sum(int(cells[column]) for cells in attackers)
