"""`manage.py migrate` is killed again and again, and comes to the same end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from tests.acceptance.deployment import ROOT
from tests.faults.deployment import PATIENCE, Deployment
from tests.faults.servers import OWNER, PostgreSQL

EACH = 6  # migrations between two deaths
APPLIED = "SELECT count(*) FROM django_migrations"
OF_SQLITE = "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2"
OF_POSTGRESQL = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes
    WHERE schemaname = 'public'
    UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3
"""


def applied(deployment: Deployment) -> int:
    try:
        ((number,),) = deployment.query(APPLIED)
    except (sqlite3.Error, psycopg.Error):  # nothing is there yet
        return 0
    return int(str(number))


def die_in_migrate(deployment: Deployment) -> bool:
    """Start to migrate and kill that with -9 after a few migrations; False when it ended before."""
    until = applied(deployment) + EACH
    command = [sys.executable, "manage.py", "migrate", "-v0"]
    process = subprocess.Popen(command, cwd=ROOT, env=deployment.env)
    end = time.monotonic() + PATIENCE
    while process.poll() is None and applied(deployment) < until:
        assert time.monotonic() < end
        time.sleep(0.002)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def schema(deployment: Deployment) -> list[tuple[object, ...]]:
    return deployment.query(OF_POSTGRESQL if deployment.postgresql else OF_SQLITE)


def survive_deaths(killed: Deployment, undisturbed: Deployment) -> None:
    deaths = 0
    while die_in_migrate(killed):
        deaths += 1
    assert deaths > 3
    for deployment in (killed, undisturbed):
        deployment.command("migrate")
        deployment.command("migrate", "--check")
    assert applied(killed) == applied(undisturbed)
    assert schema(killed) == schema(undisturbed)


def two(folder: Path) -> tuple[Path, Path]:
    folders = folder / "killed", folder / "undisturbed"
    for each in folders:
        each.mkdir()
    return folders


def test_kill_9_in_migrate_and_again_on_sqlite(tmp_path: Path) -> None:
    killed, undisturbed = two(tmp_path)
    survive_deaths(Deployment(killed), Deployment(undisturbed))


def test_kill_9_in_migrate_and_again_on_postgresql(tmp_path: Path, postgresql: PostgreSQL) -> None:
    made = []
    for folder in two(tmp_path):
        postgresql.execute(f"CREATE DATABASE {folder.name} OWNER {OWNER}")
        made.append(Deployment(folder, 2, postgresql, folder.name))
    survive_deaths(*made)
