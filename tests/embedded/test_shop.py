"""`tracking` in a project that is not ours: the record, rules and limits, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = pytest.mark.xdist_group("shop")  # one server of each kind is enough

SERVICE_ONLY = {"strawberry", "graphql", "redis", "huey", "environs", "corsheaders", "psycopg"}
OURS = {"project", "schema", "users"}
SERVERS = {
    "WSGI": ["gunicorn", "--threads=4", "--no-control-socket", "--bind=127.0.0.1:{}", "shop.wsgi"],
    "ASGI": ["uvicorn", "--port={}", "--log-level=warning", "shop.asgi:application"],
}


@dataclass(frozen=True)
class Shop:
    """The project, served at `port`; its files are in `folder`."""

    folder: Path
    port: int

    def ask(self, path: str, client: str = "", **form: str) -> tuple[int, Message, str]:
        """Return the answer to a client, who comes through a trusted proxy when he is named."""
        data = urllib.parse.urlencode(form).encode() if form else None
        headers = {"X-Forwarded-For": client} if client else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return answer.status, answer.headers, answer.read().decode()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return database.execute(sql).fetchall()


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
        "SHOP_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONWARNINGS": "error",
    }


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module", params=SERVERS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    assert manage(folder, "migrate", "-v0").returncode == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [part.format(port) for part in SERVERS[request.param]]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment(folder) | {"PYTHONWARNINGS": "default"},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: accepts(port), folder / "server.log")
        yield Shop(folder, port)
    finally:
        server.terminate()
        server.wait(20)


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(condition: Callable[[], object], log: Path) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_the_project_has_nothing_to_mend(tmp_path: Path) -> None:
    answer = manage(tmp_path, "check", "--fail-level", "WARNING")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "no issues" in answer.stdout


def test_it_needs_no_new_migrations_and_its_commands_work(tmp_path: Path) -> None:
    assert manage(tmp_path, "makemigrations", "--check", "--dry-run").returncode == 0
    assert manage(tmp_path, "migrate", "-v0").returncode == 0
    answer = manage(tmp_path, "explain_address", "192.0.2.1")
    assert "192.0.2.1" in answer.stdout


def test_every_view_is_recorded_within_a_second(shop: Shop) -> None:
    for path in ("/catalogue/", "/news/", "/nowhere/"):
        status, headers, _ = shop.ask(path)
        row = "SELECT path, status FROM tracking_requestlog WHERE request_id = '{}'"
        row = row.format(headers["X-Request-ID"])
        wait_until(lambda row=row: shop.rows(row), shop.folder / "server.log")
        assert shop.rows(row) == [(path, status)]


def change_rules(shop: Shop, statement: str) -> None:
    lines = (
        "from tracking import blocklist",
        "from tracking.audit import COMMAND_LINE as me",
        "from tracking.engine.rules import RuleAction",
        "from tracking.engine.ruletext import read_target",
        "from tracking.proposals import Proposal",
        "attacker = read_target('203.0.113.7')",
        statement,
    )
    answer = manage(shop.folder, "shell", "--no-imports", "-c", "\n".join(lines))
    assert answer.returncode == 0, answer.stderr


def test_a_rule_made_by_another_process_blocks_within_a_second(shop: Shop) -> None:
    pages = ("/catalogue/", "/news/", "/nowhere/")
    assert [shop.ask(path, "203.0.113.7")[0] for path in pages] == [200, 200, 404]
    change_rules(shop, "blocklist.block(me, Proposal(target=attacker, action=RuleAction.BLOCK))")
    time.sleep(1)
    answers = [shop.ask(path, "203.0.113.7") for path in pages]
    assert [status for status, *_ in answers] == [403] * 3
    _, headers, body = answers[0]
    assert headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert json.loads(body)["reference"] == headers["X-Request-ID"]
    assert [shop.ask(path, "203.0.113.8")[0] for path in pages] == [200, 200, 404]
    hits = "SELECT hits FROM tracking_accessrule WHERE hits = 3"
    wait_until(lambda: shop.rows(hits), shop.folder / "server.log")
    change_rules(shop, "blocklist.lift(me, attacker, RuleAction.BLOCK)")
    time.sleep(1)
    assert [shop.ask(path, "203.0.113.7")[0] for path in pages] == [200, 200, 404]


def test_views_of_both_kinds_share_their_limit(shop: Shop) -> None:
    answers = [shop.ask(path) for path in ("/order/", "/order-async/", "/order/", "/order-async/")]
    assert [status for status, *_ in answers] == [200, 200, 429, 429]
    _, headers, body = answers[-1]
    assert headers["RateLimit-Policy"] == '"orders";q=2;w=3600'
    assert int(headers["Retry-After"]) > 0
    assert json.loads(body)["violated-policies"] == ["orders"]


def test_paths_are_limited_by_the_table(shop: Shop) -> None:
    assert [shop.ask("/api/")[0] for _ in range(6)] == [200] * 5 + [429]


def test_guesses_of_passwords_are_limited(shop: Shop) -> None:
    answers = [shop.ask("/enter/", name="ada", password="guess")[0] for _ in range(6)]
    assert answers == [403] * 5 + [429]
    outcomes = shop.rows("SELECT outcome, door FROM tracking_loginattempt ORDER BY id")
    assert outcomes == [("FAILED", "/enter/")] * 5 + [("LIMITED", "/enter/")]


def test_nothing_of_the_service_is_imported(shop: Shop) -> None:
    shop.ask("/order/")
    imported = set(json.loads(shop.ask("/modules/")[2]))
    assert "tracking" in imported
    assert imported & (SERVICE_ONLY | OURS) == set()
