"""What the service's settings mean together is told at start."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


@pytest.mark.parametrize(
    ("workers", "redis_url", "told"),
    [(1, "", False), (2, "", True), (2, "redis://localhost", False)],
)
def test_several_workers_without_redis_are_told(
    settings: Settings, workers: int, redis_url: str, told: bool
) -> None:
    settings.WEB_WORKERS = workers
    settings.TRACKING_REDIS_URL = redis_url
    messages = [message.msg for message in run_checks() if message.id == "project.W001"]
    assert bool(messages) is told
    assert not told or "set REDIS_URL" in messages[0]
