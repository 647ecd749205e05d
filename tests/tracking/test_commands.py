"""The commands an operator types."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from tests.tracking.records import numbered
from tracking import drainer, journal, retention
from tracking.models import DetectionRun, LoginAttempt, ReadPosition, RequestLog, SuspiciousIP

pytestmark = pytest.mark.django_db(transaction=True)


def output(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    call_command(*command)
    return capsys.readouterr().out


def test_drain_moves_what_the_journal_holds(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        journal.mine().append(numbered(number))
    assert output(capsys, "drain") == "3 recorded, 0 bytes left in the journal\n"
    assert RequestLog.objects.count() == 3


def test_drain_says_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise OperationalError("no route")

    monkeypatch.setattr(drainer, "drain", away)
    with pytest.raises(CommandError, match="keeps its records"):
        call_command("drain")


def test_explain_address_tells_each_step(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    told = output(
        capsys,
        "explain_address",
        "10.0.0.1",
        "-H",
        "x-forwarded-for: 6.6.6.6, 2001:db8::1",
        "-H",
        "X-Real-IP: 6.6.6.6",
    )
    assert "'10.0.0.1' (trusted)" in told
    assert "hop 1 from the right:   '2001:db8::1'" in told
    assert "6.6.6.6'\n" not in told.split("because")[1]
    assert "address:                2001:db8::1 (DOCUMENTATION)" in told
    assert "counted as:             2001:db8::/64" in told


def test_explain_address_says_why_headers_are_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    told = output(capsys, "explain_address", "198.51.100.7", "-H", "X-Forwarded-For: 6.6.6.6")
    assert "no trusted proxies are configured" in told
    assert "address:                198.51.100.7" in told


def test_explain_address_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in output(capsys, "explain_address", "\x1b[31m", "-H", "x: \x1b")


def row(days_old: int) -> RequestLog:
    recorded = timezone.now() - timedelta(days=days_old)
    return RequestLog.objects.create(
        at=recorded,
        address="192.0.2.1",
        counting_key="192.0.2.1",
        method="GET",
        path="/",
        status=200,
        duration_ms=1,
        request_id="0",
        verdict="ALLOWED",
        recorded_at=recorded,
    )


def test_rows_are_forgotten_after_the_days_that_were_set(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    kept = [row(days_old) for days_old in [40] * 7 + [31, 29, 1]][-2:]
    assert retention.forget(timezone.now()) == 8
    assert list(RequestLog.objects.order_by("pk")) == kept


def test_rows_from_the_future_keep_no_others_from_being_forgotten(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    rows = [row(days_old) for days_old in [40, 40, *[-365] * 7, 40, 40, 1]]
    assert retention.forget(timezone.now()) == 4
    assert list(RequestLog.objects.order_by("pk")) == [*rows[2:9], rows[-1]]


def test_positions_in_journals_of_nodes_that_are_gone_are_forgotten_and_those_in_logs_kept(
    settings: Settings,
) -> None:
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    for name, days in (("a-b.0", 31), ("a-c.0", 29), ("log:1:x", 31)):
        moment = timezone.now() - timedelta(days=days)
        ReadPosition.objects.create(name=name, updated_at=moment)
    retention.forget(timezone.now())
    names = ReadPosition.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == ["a-c.0", "log:1:x"]


def test_an_old_log_brought_in_today_is_kept(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" 200 -\n')
    call_command("ingest_log", str(log))
    assert retention.forget(timezone.now()) == 0
    assert retention.forget(timezone.now() + timedelta(days=31)) == 1


def attempt(days_old: int) -> LoginAttempt:
    at = timezone.now() - timedelta(days=days_old)
    return LoginAttempt.objects.create(
        at=at, address="192.0.2.1", account="ada", outcome=LoginAttempt.Outcome.FAILED, door="/"
    )


@pytest.mark.parametrize(("days", "kept"), [(60, [59, 1]), (7, [29, 1])])
def test_attempts_to_log_in_are_kept_as_long_but_at_least_30_days(
    settings: Settings, days: int, kept: list[int]
) -> None:
    settings.TRACKING_LOG_RETENTION_DAYS = days
    attempt(days_old=max(days, 30) + 1)
    wanted = [attempt(days_old) for days_old in kept]
    retention.forget(timezone.now())
    assert list(LoginAttempt.objects.order_by("pk")) == wanted


def test_zero_days_keep_everything(settings: Settings) -> None:
    settings.TRACKING_LOG_RETENTION_DAYS = 0
    row(1000)
    assert retention.forget(timezone.now()) == 0


def suspicion(detector: str, status: str, days_old: int, reviewed: int | None = None) -> None:
    at = timezone.now() - timedelta(days=days_old)
    SuspiciousIP.objects.create(
        target="192.0.2.1",
        first="192.0.2.1",
        prefix=32,
        detector=detector,
        reason="1 request",
        severity="HIGH",
        count=1,
        threshold=1,
        window_start=at,
        window_end=at,
        first_seen=at,
        last_seen=at,
        status=status,
        reviewed_at=None if reviewed is None else timezone.now() - timedelta(days=reviewed),
    )


def test_confirmed_suspicions_are_forgotten_and_open_ones_and_exceptions_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    suspicion("open", "OPEN", 40)
    suspicion("exception", "FALSE_POSITIVE", 40, reviewed=40)
    suspicion("ignored", "IGNORED", 40, reviewed=40)
    suspicion("reviewed lately", "CONFIRMED", 40, reviewed=2)
    suspicion("seen lately", "CONFIRMED", 2, reviewed=40)
    for number in range(3):
        suspicion(f"over {number}", "CONFIRMED", 40, reviewed=40)
    retention.forget(timezone.now())
    kept = SuspiciousIP.objects.order_by("pk").values_list("detector", flat=True)
    assert list(kept) == ["open", "exception", "ignored", "reviewed lately", "seen lately"]


def test_reports_of_detection_are_kept_as_long_as_the_log(settings: Settings) -> None:
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    for days in (31, 29):
        at = timezone.now() - timedelta(days=days)
        DetectionRun.objects.create(
            now=at, started_at=at, trigger=f"{days}", after_row=0, upto_row=0
        )
    retention.forget(timezone.now())
    assert DetectionRun.objects.get().trigger == "29"
