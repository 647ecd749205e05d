"""`manage.py doctor`: finds what is ill, says what to do, hides secrets, and never hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from project import doctor
from project.doctor import configuration, node, record, stores
from project.doctor.findings import Finding, Level, Section, looked_at
from tests import redis_server
from tests.tracking.records import numbered
from tracking import geo, journal, recorder
from tracking.health import HEARTBEAT
from tracking.models import Counter
from tracking.tasks import beat

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cr3t-of-this-test-0123456789-abcdefghij-KLMNOPQRST"
SECRETS = {
    "SECRET_KEY": SECRET,
    "JWT_SIGNING_KEYS": f"blue:{SECRET[::-1]}",
    "METRICS_TOKEN": SECRET,
    "DATABASE_URL": f"postgres://service:{SECRET}@127.0.0.1:9/records?options={SECRET}",
    "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:9/0",
    "DJANGO_SUPERUSER_PASSWORD": SECRET,
    "EMAIL_HOST_PASSWORD": SECRET,
    "GEOIPUPDATE_ACCOUNT_ID": "123456",
    "GEOIPUPDATE_LICENSE_KEY": SECRET,
    "IPINFO_TOKEN": SECRET,
    "ALERT_WEBHOOKS": f"https://hooks.example.org/{SECRET} whsec_{'c2VjcmV0' * 6}",
}


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> Iterator[None]:
    tmp_path.chmod(0o700)
    settings.STATE_DIR = settings.TRACKING_STATE_DIR = tmp_path
    settings.TRACKING_GEOIP_PATH = tmp_path / "geoip"
    settings.PORT = redis_server.free_port()
    journal.close()
    geo.reset()
    yield
    journal.close()
    geo.reset()


def found(section: str) -> list[Finding]:
    parts = {part.name: part for part in doctor.SECTIONS}
    return looked_at(parts[section], doctor.PATIENCE)


def complaint(section: str) -> str:
    """Return the one finding of a section that is not OK, with its level and remedy."""
    ill = [finding for finding in found(section) if finding.level is not Level.OK]
    assert len(ill) == 1, ill
    assert ill[0].remedy
    return f"{ill[0].level} {ill[0].message} -> {ill[0].remedy}"


@pytest.mark.one_store
def test_without_a_database_it_says_so_and_no_secret_leaves_it(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "STATE_DIR": str(tmp_path / "var")}
    ran = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT,
        env=env | SECRETS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (1, "")
    assert SECRET not in ran.stdout
    assert SECRET[::-1] not in ran.stdout
    assert "c2VjcmV0" not in ran.stdout
    told = json.loads(ran.stdout)
    assert told["ok"] is False
    assert told["settings"]["DATABASE_URL"] == "postgres://service:***@127.0.0.1:9/records?***"
    assert told["settings"]["REDIS_URL"] == "redis://:***@127.0.0.1:9/0"
    assert told["settings"]["JWT_SIGNING_KEYS"] == "blue:***"
    assert told["settings"]["ALERT_WEBHOOKS"] == "hooks.example.org/***"
    assert told["settings"]["SECRET_KEY"] == "***"
    errors = [one["message"] for one in told["findings"] if one["level"] == "ERROR"]
    assert any("Left out, since the database does not answer" in message for message in errors)
    assert any("does not answer within 50 ms" in message for message in errors)
    assert all(one["remedy"] for one in told["findings"] if one["level"] != "OK")


@pytest.mark.one_store
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://host/0", "redis://host/0"),
        ("postgres://user@host/name", "postgres://user@host/name"),
        ("postgres://user:p@ss@host/name", "postgres://user:***@host/name"),
        ("postgres://user:pa/ss@host/name", "postgres://user:***@host/name"),
        ("unix://:pass@/run/redis.sock?db=1&password=pass", "unix://:***@/run/redis.sock?***"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_what_may_be_a_password(value: str, shown: str) -> None:
    assert configuration.shown("DATABASE_URL", value) == shown


def test_a_healthy_service_has_nothing_to_mend(settings: Settings) -> None:
    beat.call_local()
    Client().get("/livelong")
    written = StringIO()

    call_command("doctor", stdout=written)

    text = written.getvalue()
    assert "ERROR" not in text.replace("0 ERROR", "")
    assert "TIME_ZONE=UTC" in text
    assert "Nothing answers at" in text  # no web server runs beside this test


@pytest.mark.one_store
def test_what_hangs_is_left_behind_and_what_fails_is_told() -> None:
    forever = threading.Event()

    def fail() -> list[Finding]:
        raise OSError("two\nlines")

    def hang() -> list[Finding]:
        forever.wait(60)
        return []

    hangs, fails = (looked_at(Section("x", look, remedy="y"), 0.05) for look in (hang, fail))
    forever.set()

    assert [finding.message for finding in hangs] == ["No answer came within 0.05 s."]
    assert [finding.message for finding in fails] == ["OSError: two lines"]


def test_a_worker_that_never_came_or_is_long_gone_is_an_error() -> None:
    assert "has never run" in complaint("worker")

    Counter.objects.create(name=HEARTBEAT, updated_at=timezone.now() - timedelta(minutes=9))
    assert complaint("worker").startswith("ERROR The Huey worker: last seen 5")

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=StringIO())
    assert ended.value.code == 1


def test_losses_of_late_are_a_warning_and_old_ones_are_told() -> None:
    recorder.count(recorder.DROPPED, 7)
    assert complaint("losses").startswith("WARNING 7 records were lost")

    Counter.objects.update(updated_at=timezone.now() - record.LATELY)
    assert [finding.level for finding in found("losses")] == [Level.OK, Level.OK]


@pytest.mark.one_store
def test_files_that_others_can_read_are_an_error(tmp_path: Path) -> None:
    assert [finding.level for finding in found("files")] == [Level.OK]

    (tmp_path / "secret-key").write_text("key")
    (tmp_path / "secret-key").chmod(0o644)
    assert "Others can read secret-key" in complaint("files")

    (tmp_path / "secret-key").chmod(0o600)
    (tmp_path / "initial-password").touch(0o600)
    assert "still stands" in complaint("files")


@pytest.mark.one_store
def test_a_full_disk_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "LEAST_FREE", 1 << 60)
    assert complaint("disk").startswith("ERROR Only")

    monkeypatch.setattr(node, "LEAST_FREE", 0)
    settings.TRACKING_JOURNAL_TOTAL_BYTES = 1 << 40
    assert complaint("disk").startswith("WARNING")


def test_segments_that_nobody_adopts_are_told() -> None:
    journal.mine().append(numbered(1))
    segment = journal.mine().segment
    assert segment is not None
    long_ago = (timezone.now() - timedelta(hours=1)).timestamp()
    os.utime(segment, (long_ago, long_ago))
    assert [finding.level for finding in found("journal")] == [Level.OK]  # its owner lives

    journal.close()

    assert "WARNING 1 files of processes that are gone" in complaint("journal")


@pytest.mark.one_store
def test_a_damaged_file_of_places_is_told_with_the_reason(tmp_path: Path) -> None:
    assert "no files of places" in complaint("places")

    (tmp_path / "geoip").mkdir()
    (tmp_path / "geoip" / "city.mmdb").write_bytes(b"no such thing")
    geo.reset()

    assert "cannot be used: it is damaged or no MMDB file at all" in complaint("places")


def test_migrations_that_are_missing_or_of_a_newer_release_are_errors() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'was' WHERE app = 'users'")
        missing = complaint("migrations")
        cursor.execute("UPDATE django_migrations SET app = 'users' WHERE app = 'was'")
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('tracking', '9999_later', CURRENT_TIMESTAMP)"
        )
        newer = complaint("migrations")
        cursor.execute("DELETE FROM django_migrations WHERE name = '9999_later'")

    assert "manage.py migrate" in missing
    assert "newer release, such as tracking.9999_later" in newer
    assert [finding.level for finding in found("migrations")] == [Level.OK]


def test_the_clock_of_the_database_is_compared() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's clock may be of another machine, SQLite's is ours")
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        assert "The clock of the database is 60 s behind ours" in complaint("database")


@pytest.mark.one_store
def test_redis_is_looked_at_as_the_limits_use_it(settings: Settings) -> None:
    assert [finding.level for finding in found("redis")] == [Level.OK]
    with redis_server.running() as server:
        settings.TRACKING_REDIS_URL = server.url
        assert [finding.level for finding in found("redis")] == [Level.OK] * 3

        server.client.config_set("maxmemory-policy", "allkeys-lru")
        assert "maxmemory-policy allkeys-lru" in complaint("redis")
        server.client.config_set("maxmemory-policy", "noeviction")
        with time_machine.travel(timezone.now() - timedelta(minutes=1)):
            assert "The clock of Redis is 60 s ahead of ours" in complaint("redis")

        server.hang()
        try:
            assert complaint("redis").startswith("ERROR It does not answer within 50 ms")
        finally:
            server.go_on()


@pytest.mark.one_store
def test_a_queue_that_grows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.level for finding in found("queue")] == [Level.OK]
    monkeypatch.setattr(stores.HUEY, "pending_count", lambda: 5000)
    assert "5000 tasks wait" in complaint("queue")
