"""A journal of its own for each test, nothing that drains it behind the test's back, and places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from tests import mmdb
from tracking import geo, journal


@pytest.fixture(autouse=True)
def journal_dir(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    settings.TRACKING_STATE_DIR = tmp_path
    settings.TRACKING_BACKGROUND_THREAD = False
    journal.close()
    yield tmp_path / "journal"
    journal.close()


@pytest.fixture
def places(settings: Settings, tmp_path: Path) -> Iterator[None]:
    records = {
        "81.2.69.0/24": mmdb.CITY | mmdb.ASN,  # in GB
        "2.125.160.0/24": mmdb.COUNTRY,  # in FR
    }
    mmdb.write(tmp_path / "geoip" / "places.mmdb", "of our own", records)
    settings.TRACKING_GEOIP_PATH = tmp_path / "geoip"
    geo.reset()
    yield
    geo.reset()
