"""The disk is full: for the journal, or for the database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE

import pytest

from tests.faults.conftest import Survive, running
from tests.faults.deployment import Deployment
from tests.faults.load import Fault
from tests.faults.servers import OWNER, PostgreSQL, small_file_system
from tests.postgresql import CannotStartError

MEBIBYTE = 1 << 20
LASTS = 8.0  # seconds


@contextmanager
def disk_of(folder: Path, mebibytes: int) -> Iterator[Path]:
    try:
        with small_file_system(folder, mebibytes) as disk:
            yield disk
    except CannotStartError as error:
        pytest.skip(str(error))


class Ballast:
    """A file that takes all that is left of a file system."""

    def __init__(self, disk: Path) -> None:
        self.file = disk / "ballast"

    def put(self, deployment: Deployment) -> None:
        with suppress(OSError), self.file.open("wb", buffering=0) as file:
            for size in (MEBIBYTE, 4096, 1):
                with suppress(OSError):
                    while file.write(b"\0" * size):
                        pass

    def drop(self, deployment: Deployment) -> None:
        self.file.unlink()

    def fault(self) -> Fault:
        return Fault(self.put, LASTS, self.drop)


def limit_files(deployment: Deployment) -> None:
    """Let no file of a web worker grow beyond what its journal holds now, and a bit."""
    folder = deployment.state / "journal"
    largest = max(file.stat().st_size for file in folder.iterdir())
    for worker in deployment.web_workers():
        worker.rlimit(RLIMIT_FSIZE, (largest + 1000, RLIM_INFINITY))


def lift_limit(deployment: Deployment) -> None:
    for worker in deployment.web_workers():
        worker.rlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))


def test_files_of_the_journal_may_not_grow(large: Deployment, survive: Survive) -> None:
    survive("journal: RLIMIT_FSIZE", large, Fault(limit_files, LASTS, lift_limit))


def test_the_disk_of_the_journal_is_full(tmp_path: Path, survive: Survive) -> None:
    with (
        disk_of(tmp_path / "journal", 16) as disk,
        running(Deployment(tmp_path)) as deployment,
    ):
        survive("journal: disk full", deployment, Ballast(disk).fault())


def test_the_disk_of_sqlite_is_full(tmp_path: Path, survive: Survive) -> None:
    with disk_of(tmp_path / "disk", 64) as disk:
        file = disk / "db.sqlite3"
        settings = {"DATABASE_URL": f"sqlite:///{file}"}
        with running(Deployment(tmp_path, file=file, settings=settings)) as deployment:
            survive("SQLite: disk full", deployment, Ballast(disk).fault())


def test_the_disk_of_postgresql_is_full(
    tmp_path: Path, postgresql: PostgreSQL, survive: Survive
) -> None:
    with disk_of(postgresql.folder / "disk", 96) as disk:
        space = disk / "space"
        space.mkdir()
        shutil.chown(space, postgresql.account)
        postgresql.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        postgresql.execute(f"CREATE DATABASE small OWNER {OWNER} TABLESPACE small")
        with running(Deployment(tmp_path, 2, postgresql, "small")) as deployment:
            survive("PostgreSQL: disk full", deployment, Ballast(disk).fault())
        postgresql.execute("DROP DATABASE small WITH (FORCE)")
        postgresql.execute("DROP TABLESPACE small")
