"""The service as it is deployed: gunicorn, in one process or several, on one folder of state."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds; a start takes about two on an idle machine
Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """A web server of a process of its own."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql/"

    def ask(self, document: str, token: str = "", **given: Any) -> Json:
        """Return the answer to a document, whose variable `input` is `given`."""
        body = {"query": document, "variables": {"input": given} if given else {}}
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        with urlopen(Request(self.url, json.dumps(body).encode(), headers), timeout=30) as answer:
            said: Json = json.load(answer)
        return said


def environment(state: Path, **more: str) -> dict[str, str]:
    """What a deployment on this machine sets, and nothing of the tests' own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    off = dict.fromkeys(("LIMIT_GRAPHQL", "LIMIT_LOGIN_ADDRESS", "LIMIT_LOGIN_ACCOUNT"), "off")
    return kept | off | {"DEBUG": "true", "STATE_DIR": str(state), "ENV_FILE": os.devnull} | more


def manage(env: dict[str, str], *arguments: str, typed: str = "") -> str:
    """Run a command of the service without a terminal; return what it says."""
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def serve(env: dict[str, str], log: Path) -> Iterator[Service]:
    """Start one process of the service, and end it afterwards."""
    service = Service(free_port())
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "project.wsgi"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env | {"PORT": str(service.port), "WEB_WORKERS": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        await_answer(service, process, log)
        yield service
    finally:
        process.terminate()
        process.wait(PATIENCE)


def await_answer(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", service.port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the service did not start: {log.read_text()}")
