"""What operators see of several processes of which some are killed: right numbers, whole lines."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import running
from tests.faults.deployment import Deployment, wait_until

EACH_TIME = 50
HOSTILE = '/none%0a%7b"level"%3a"INFO"%7d%1b[2J'
FOR_PEOPLE = r"System check|WARNINGS:|\?: \(|$|.*administrator|city:|asn:|country:"


@pytest.fixture
def talking(tmp_path: Path) -> Iterator[Deployment]:
    with running(Deployment(tmp_path, settings={"LOG_FORMAT": "json"})) as deployment:
        yield deployment


def not_found(deployment: Deployment) -> float:
    text = deployment.ask("GET", "/metrics").body.decode()
    found = re.search(
        r'^tracking_requests_total{status="4xx",verdict="ALLOWED"} (\S+)', text, re.MULTILINE
    )
    assert found is not None, text
    return float(found[1])


def test_counts_and_lines_survive_the_death_of_web_workers(talking: Deployment) -> None:
    before = not_found(talking)
    ids = set()
    for _ in range(3):
        workers = {process.pid for process in talking.web_workers()}
        ids |= {talking.ask("GET", HOSTILE).request_id for _ in range(EACH_TIME)}
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda dead=workers: (
                len(talking.web_workers()) == 2
                and not dead & {process.pid for process in talking.web_workers()}
                and talking.ask("GET", "/livez").status == 200
            ),
            "new workers",
        )

    assert not_found(talking) == before + 3 * EACH_TIME
    assert len(list((talking.state / "metrics").glob("counter_*.db"))) <= 2 + 1  # the server's own
    lines = [line for line in talking.log.read_text().splitlines() if line[:1] == "{"]
    told = [json.loads(line) for line in lines]
    assert {line["request_id"] for line in told if "/none" in line["message"]} == ids
    assert {line["logger"] for line in told} >= {"gunicorn.error", "django.request"}
    others = set(talking.log.read_text().splitlines()) - set(lines)
    assert [line for line in others if not re.match(FOR_PEOPLE, line)] == []
