"""The database of places is missing, cut short, or replaced while it is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Survive
from tests.faults.deployment import Deployment
from tests.faults.load import Fault
from tests.mmdb import CITY, COUNTRY, INSIDE, NETWORK, write


def file_of(deployment: Deployment) -> Path:
    return deployment.state / "geoip" / "places.mmdb"


def kept(deployment: Deployment) -> Path:
    return deployment.state / "places.kept"


def take_away(deployment: Deployment) -> None:
    file_of(deployment).rename(kept(deployment))


def cut_short(deployment: Deployment) -> None:
    file = file_of(deployment)
    shutil.copy(file, kept(deployment))
    with file.open("rb+") as opened:  # in its place, under those who read it
        opened.truncate(file.stat().st_size // 2)


def put_back(deployment: Deployment) -> None:
    kept(deployment).replace(file_of(deployment))


def swap(deployment: Deployment) -> None:
    other = write(deployment.state / "other.mmdb", "GeoLite2-Country", {NETWORK: COUNTRY})
    other.replace(file_of(deployment))


def country(deployment: Deployment) -> object:
    """Return where the record says that a request came from."""
    asked = deployment.ask("GET", "/nowhere", headers={"X-Forwarded-For": INSIDE})
    where = f"WHERE request_id = '{asked.request_id}'"
    rows: list[tuple[object, ...]] = []
    while not rows:
        rows = deployment.query(f"SELECT country FROM tracking_requestlog {where}")
    return rows[0][0]


def is_known_again(deployment: Deployment) -> bool:
    return country(deployment) == "GB" and deployment.works()


def is_replaced(deployment: Deployment) -> bool:
    return country(deployment) == "FR" and deployment.works()


FAULTS = {
    "MMDB missing": Fault(take_away, 8, put_back, is_known_again),
    "MMDB cut short in its place": Fault(cut_short, 8, put_back, is_known_again),
    "MMDB replaced": Fault(swap, is_over=is_replaced),
}


@pytest.mark.parametrize("fault", FAULTS.keys())
def test_places_in_trouble(small: Deployment, survive: Survive, fault: str) -> None:
    write(file_of(small), "GeoLite2-City", {NETWORK: CITY})
    survive(fault, small, FAULTS[fault])
