"""A journal of its own for each test, and nothing that drains it behind the test's back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from tracking import journal


@pytest.fixture(autouse=True)
def journal_dir(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    settings.TRACKING_STATE_DIR = tmp_path
    settings.TRACKING_BACKGROUND_THREAD = False
    journal.close()
    yield tmp_path / "journal"
    journal.close()
