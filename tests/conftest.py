"""What holds for every test."""

from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def nothing_in_the_background(settings: Settings) -> None:
    """No thread writes to the test's database or outlives it; tests that want one turn it on."""
    settings.TRACKING_BACKGROUND_THREAD = False
