"""GraphQL over HTTP, judged by others: the server audits of the npm package graphql-http."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
AUDITS = 61
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def service(state: Path) -> Iterator[str]:
    """Run the service as a developer does, and yield the address of its GraphQL endpoint."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = kept | {"DEBUG": "true", "STATE_DIR": str(state), "LIMIT_GRAPHQL": "off"}
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v0"], cwd=TOP, env=environment, check=True, timeout=120)
    port = free_port()
    with (state / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=TOP,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(port, server)
            yield f"http://127.0.0.1:{port}/graphql/"
        finally:
            server.terminate()
            server.wait(30)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the service did not start")


def test_every_audit_of_the_specification_passes(tmp_path: Path) -> None:
    node = shutil.which("node", path=PATH)
    if node is None:
        pytest.skip("node is not installed")
    folder = Path(os.environ.get("GRAPHQL_HTTP_FOLDER", TOP))
    if not (folder / "node_modules" / "graphql-http").is_dir():
        pytest.skip("the npm package graphql-http is not installed: npm ci")
    with service(tmp_path) as url:
        ran = subprocess.run(
            [str(node), str(Path(__file__).with_name("audit.cjs")), str(folder), url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == AUDITS
