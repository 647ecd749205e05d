"""Nothing that records the tests' own requests among the rows they ask about."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tracking import journal


@pytest.fixture(autouse=True)
def undrained(settings: Settings, tmp_path: object) -> None:
    settings.TRACKING_STATE_DIR = tmp_path
    settings.TRACKING_BACKGROUND_THREAD = False
    journal.close()
