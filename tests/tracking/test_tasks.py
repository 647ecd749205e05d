"""What the Huey worker does with tasks that waited too long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from huey.contrib.djhuey import HUEY

from tracking import detection, rollups, tasks


@pytest.mark.parametrize(("waited", "runs"), [(5, 1), (60, 0)])
def test_a_run_that_was_wanted_at_once_is_not_made_up_for_later(
    waited: float, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(detection, "run_to_end", lambda *arguments: ran.append(arguments))
    task = tasks.detect_now.s("203.0.113.5")
    task.resolve_expires(HUEY.utc)
    moment = datetime.now(UTC if HUEY.utc else None).replace(tzinfo=None)  # as Huey writes it
    HUEY.execute(task, moment + timedelta(seconds=waited))
    assert len(ran) == runs


@pytest.mark.parametrize("name", ["deliver_alerts_now", "mail_alerts_now"])
def test_neither_are_deliveries(name: str) -> None:
    assert getattr(tasks, name).s().expires == tasks.STALE


def test_hours_are_counted_by_one_thread_of_the_worker_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[object] = []

    def take_longer_than_a_minute() -> None:
        counts.append(None)
        tasks.count_hours.call_local()

    monkeypatch.setattr(rollups, "renew", take_longer_than_a_minute)
    for _ in range(2):
        tasks.count_hours.call_local()
    assert len(counts) == 2
