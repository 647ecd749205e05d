"""Old rows lose what leads to a person, and nothing that counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from tracking import anonymization, rollups, tasks
from tracking.models import AuditEntry, HourlyCount, LoginAttempt, RequestLog, Subject

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PERSONAL = {
    "user_pk": "7",
    "username": "ada",
    "user_agent": "her own browser",
    "referer": "https://example.org/ada",
    "query": "name=ada",
    "city": "London",
}


@pytest.fixture(autouse=True)
def after_ten_days(settings: Settings) -> None:
    settings.TRACKING_ANONYMIZE_DAYS = 10


def put(days: float, address: str = "203.0.113.7", **values: Any) -> RequestLog:
    """Record a request so many days ago."""
    at = NOW - timedelta(days=days)
    facts: dict[str, Any] = {"counting_key": address, "path": "/", "status": 200, "duration_ms": 1}
    facts |= {"verdict": "ALLOWED", "country": "GB", **PERSONAL}
    return RequestLog.objects.create(at=at, recorded_at=at, address=address, **facts | values)


def addresses() -> list[str]:
    return list(RequestLog.objects.order_by("pk").values_list("address", flat=True))


def test_what_is_old_gets_anonymous_and_what_is_not_stays() -> None:
    put(11)
    put(10.5, "2001:db8:1:2::3", counting_key="2001:db8:1:2::/64")
    put(10.2, "fc12:3456::7", counting_key="fc12:3456::/64")
    put(9)

    assert anonymization.anonymize(NOW) == 3
    assert addresses() == ["203.0.113.0", "2001:db8:1::", "fc00::", "203.0.113.7"]
    *old, new = RequestLog.objects.order_by("pk")
    for row in old:
        assert [getattr(row, name) for name in PERSONAL] == [""] * len(PERSONAL)
        assert row.counting_key == row.address
        assert (row.country, row.path, row.status) == ("GB", "/", 200)
    assert {name: getattr(new, name) for name in PERSONAL} == PERSONAL


def test_counts_by_the_hour_are_counted_anew_however_old_they_are() -> None:
    put(300)
    put(300, "203.0.113.8")
    rollups.renew()
    assert HourlyCount.objects.filter(value="203.0.113.7").exists()

    tasks.anonymize_old_rows.call_local()
    tasks.count_hours.call_local()

    counts = HourlyCount.objects.filter(subject=Subject.ADDRESS)
    assert [(row.value, row.requests) for row in counts] == [("203.0.113.0", 2)]


def test_a_run_that_dies_is_taken_up_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymization, "BATCH_ROWS", 2)
    for _ in range(5):
        put(20)
    change, calls = anonymization._change, []

    def dies_in_the_second_batch(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        change(*arguments)

    monkeypatch.setattr(anonymization, "_change", dies_in_the_second_batch)
    with pytest.raises(KeyboardInterrupt):
        anonymization.anonymize(NOW)
    assert addresses().count("203.0.113.0") == 2

    assert anonymization.anonymize(NOW) == 3
    assert anonymization.anonymize(NOW) == 0
    assert addresses() == ["203.0.113.0"] * 5


def test_rows_from_the_future_keep_none_from_getting_anonymous(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(anonymization, "BATCH_ROWS", 2)
    for days in (20, -1, -1, -1, -1, 11, 3):
        put(days)

    assert anonymization.anonymize(NOW) == 6
    assert addresses()[-1] == "203.0.113.7"


def test_logins_stay_as_long_as_they_speak_for_their_address_and_audits_keep_who() -> None:
    for days in (31, 20):
        LoginAttempt.objects.create(
            at=NOW - timedelta(days=days), address="203.0.113.7", account="ada", outcome="FAILED"
        )
        AuditEntry.objects.create(
            at=NOW - timedelta(days=days), actor="eve", address="203.0.113.7", action="x"
        )
    AuditEntry.objects.create(at=NOW - timedelta(days=15), actor="command line", action="x")

    anonymization.anonymize(NOW)

    attempts = LoginAttempt.objects.order_by("pk").values_list("address", "account")
    assert list(attempts) == [("203.0.113.0", ""), ("203.0.113.7", "ada")]
    entries = AuditEntry.objects.order_by("pk").values_list("actor", "address")
    assert list(entries) == [
        ("eve", "203.0.113.0"),
        ("eve", "203.0.113.0"),
        ("command line", None),
    ]


def test_nothing_happens_where_nobody_asked_for_it(settings: Settings) -> None:
    settings.TRACKING_ANONYMIZE_DAYS = 0
    put(1000)
    assert anonymization.anonymize(NOW) == 0
    assert addresses() == ["203.0.113.7"]
