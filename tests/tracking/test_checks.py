"""Misconfiguration is told at start, with an id and what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import conf, detection, drainer, journal
from tracking.engine.limits import LIMITS
from tracking.models import RequestLog


def ids() -> set[str]:
    return {message.id for message in run_checks() if (message.id or "").startswith("tracking.")}


def test_the_tests_own_settings_raise_only_that_the_thread_is_off() -> None:
    assert ids() == {"tracking.W002"}


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("STATE_DIR", None, "tracking.E001"),
        ("STATE_DIR", 7, "tracking.E001"),
        ("TRUSTED_PROXIES", "10.0.0.0/8", "tracking.E002"),
        ("TRUSTED_PROXIES", ["10.0.0.1/8"], "tracking.E002"),
        ("TRUSTED_PROXIES", ["nginx"], "tracking.E002"),
        ("TRUSTED_PROXY_HEADER", "X Forwarded", "tracking.E003"),
        ("TRUSTED_PROXY_HEADER", "X_Forwarded_For", "tracking.E003"),
        ("IPV6_PREFIX", 0, "tracking.E004"),
        ("IPV6_PREFIX", True, "tracking.E004"),
        ("GEOIP_PATH", 1, "tracking.E005"),
        ("BACKGROUND_THREAD", "yes", "tracking.E006"),
        ("DRAIN_INTERVAL", float("nan"), "tracking.E007"),
        ("DRAIN_INTERVAL", 60, "tracking.E007"),
        ("JOURNAL_SEGMENT_BYTES", 1, "tracking.E008"),
        ("JOURNAL_TOTAL_BYTES", "1G", "tracking.E009"),
        ("JOURNAL_UNLINK_DELAY", -1, "tracking.E010"),
        ("LOG_RETENTION_DAYS", -1, "tracking.E011"),
        ("LOG_MAX_ROWS", -1, "tracking.E039"),
        ("LOG_QUERY_STRING", 1, "tracking.E012"),
        ("REDACTED_NAMES", "iban", "tracking.E013"),
        ("QUERY_TIME_BUDGET", 0, "tracking.E014"),
        ("TRUSTED_UNIX_SOCKET", "no", "tracking.E015"),
        ("CACHE_TTL_STATISTICS", -1, "tracking.E037"),
        ("CACHE_TTL_STATISTICS", 3601, "tracking.E037"),
        ("CACHE_TTL_PLACES", "1h", "tracking.E038"),
        ("REDIS_URL", 7, "tracking.E016"),
        ("LIMITS", {"graphql": "often"}, "tracking.E017"),
        ("LIMITS", ["graphql"], "tracking.E017"),
        ("LIMITS", {'a"b': "5/m"}, "tracking.E017"),
        ("LIMITS", {"a" * 65: "5/m"}, "tracking.E017"),
        ("LIMITS", {7: "5/m"}, "tracking.E017"),
        ("GRAPHQL_PATHS", "/graphql/", "tracking.E018"),
        ("ENFORCEMENT", "off", "tracking.E019"),
        ("ENFORCEMENT", True, "tracking.E019"),
        ("UNKNOWN_COUNTRY", "maybe", "tracking.E023"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    settings: Settings, name: str, value: object, check_id: str
) -> None:
    setattr(settings, f"TRACKING_{name}", value)
    messages = [message for message in run_checks() if message.id == check_id]
    assert len(messages) == 1
    assert f"TRACKING_{name}: " in messages[0].msg
    with pytest.raises(ImproperlyConfigured, match=f"TRACKING_{name}: "):
        conf.current()


def test_times_without_zone_are_refused(settings: Settings) -> None:
    settings.USE_TZ = False
    assert "tracking.E020" in ids()


def test_a_database_that_is_not_supported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "mysql")
    messages = [message for message in run_checks() if message.id == "tracking.E021"]
    assert "use PostgreSQL" in messages[0].msg


def test_a_state_folder_that_cannot_be_written_is_an_error(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "tracking.E022" in ids()


def test_a_missing_middleware_is_told(settings: Settings) -> None:
    settings.MIDDLEWARE = []
    assert "tracking.W001" in ids()


def test_limits_that_nothing_applies_are_told(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    assert ids() == {"tracking.W002"}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Limit" not in name]
    settings.AUTHENTICATION_BACKENDS = settings.AUTHENTICATION_BACKENDS[::-1]
    assert ids() == {"tracking.W002", "tracking.W005", "tracking.W007"}
    settings.TRACKING_LIMITS = {limit.name: "off" for limit in LIMITS}
    assert ids() == {"tracking.W002"}


def test_limits_before_authentication_are_told(settings: Settings) -> None:
    limit = "tracking.middleware.LimitMiddleware"
    others = [name for name in settings.MIDDLEWARE if name != limit]
    settings.MIDDLEWARE = [others[0], limit, *others[1:]]
    assert "tracking.W006" in ids()


def test_trusting_everybody_is_told(settings: Settings) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["0.0.0.0/0"]
    assert "tracking.W004" in ids()


def test_refusing_nothing_is_told(settings: Settings) -> None:
    settings.TRACKING_ENFORCEMENT = "observe"
    assert "tracking.W008" in ids()


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's journal mode")
def test_a_database_whose_readers_wait_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tracking.W003" not in {message.id for message in run_checks(databases=["default"])}
    monkeypatch.setattr("tracking.checks._is_write_ahead", lambda: False)
    assert "tracking.W003" in {message.id for message in run_checks(databases=["default"])}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"floods": {}}, "There is no detector 'floods': write one of flood, probing"),
        ({"flood": {"request": 9}}, "'request' is none of mode, requests, block_requests, window"),
        ({"flood": {"requests": 0}}, "0 is not a number above 0"),
        ({"flood": {"requests": "200"}}, "'200' is not a number above 0"),
        ({"flood": {"mode": "BLOCK"}}, "'BLOCK' is none of OFF, OBSERVE, SUGGEST, ENFORCE"),
        ({"flood": {"mode": {"WORST": "OFF"}}}, "no mapping of LOW, MEDIUM, HIGH to those"),
    ],
)
def test_detectors_that_are_set_wrongly_are_named(
    settings: Settings, value: object, words: str
) -> None:
    settings.TRACKING_DETECTORS = value
    (message,) = [each for each in run_checks() if each.id == "tracking.E035"]
    assert words in message.msg


def test_detectors_that_are_set_rightly_are_no_error(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"requests": 9, "mode": {"LOW": "OFF"}}, "burst": {}}
    assert ids() == {"tracking.W002"}


def test_without_signatures_what_is_lost_is_said(settings: Settings) -> None:
    settings.TRACKING_SIGNATURES = False
    assert "tracking.W011" in ids()


@pytest.mark.django_db(transaction=True)
def test_records_that_nobody_looks_at_are_a_warning() -> None:
    assert late() == []
    journal.mine().append(HARMLESS)
    drainer.drain()
    assert late() == []
    RequestLog.objects.update(recorded_at=timezone.now() - timedelta(minutes=6))
    assert late() == ["tracking.W010"]
    detection.run(timezone.now())
    assert late() == []


def late() -> list[str | None]:
    found = run_checks(databases=["default"])
    return [message.id for message in found if message.id == "tracking.W010"]
