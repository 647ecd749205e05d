"""The environment of the tests, set before Django reads its settings (a pytest plugin).

TEST_STORE=postgresql runs the tests that touch the database, and only those, on a private
PostgreSQL. With CI=true a test may not be skipped: what could not start here is then a failure.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import postgresql

TEMPLATE = Path(__file__).resolve().parent.parent / ".env_template"
STORE = os.environ.get("TEST_STORE", "sqlite")
STRICT = os.environ.get("CI") == "true"
# How the reason of a skip begins that no set-up of this machine could take away.
ELSEWHERE = (
    *("SQLite's", "PostgreSQL's", "the labelled logs", "MaxMind's test databases", "Docker's"),
    "a measurement",
)
DATABASE_FIXTURES = {"db", "transactional_db", "live_server"}


def make_folder() -> Path:
    """Return a folder for this process, inside one that the first process removes at its end."""
    if "TESTS_FOLDER" not in os.environ:
        os.environ["TESTS_FOLDER"] = tempfile.mkdtemp(prefix="tests-")
        atexit.register(shutil.rmtree, os.environ["TESTS_FOLDER"], ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=os.environ["TESTS_FOLDER"]))


def forget_developer_settings() -> None:
    """Take away what the developer's shell sets: tests must not reach a real database."""
    for name in re.findall(r"^#?([A-Z][A-Z0-9_]+)=", TEMPLATE.read_text(), re.MULTILINE):
        os.environ.pop(name, None)


def start_database() -> None:
    """Start the store once; worker processes of xdist inherit its address, or why there is none."""
    if STORE != "postgresql" or "TEST_DATABASE_URL" in os.environ:
        return
    try:
        server = postgresql.start()
    except postgresql.CannotStartError as error:
        os.environ.update(TEST_DATABASE_URL="", TEST_DATABASE_MISSING=str(error))
    else:
        os.environ["TEST_DATABASE_URL"] = server.url
        atexit.register(server.stop)
        # A run that is told to end would otherwise leave the server behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


start_database()
forget_developer_settings()
os.environ.update(
    ENV_FILE=os.devnull,
    STATE_DIR=str(make_folder()),
    SECRET_KEY="only-for-tests-" + "0123456789" * 5,
    JWT_SIGNING_KEYS="tests:" + "0123456789abcdef" * 4,
    DEBUG="false",
    ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL", ""),
    # What a test puts on record it wants to see; those of the cache turn it on.
    CACHE_TTL_STATISTICS="0",
    # A test asks more often than a person; those of limits put the table of limits back.
    LIMIT_GRAPHQL="off",
    LIMIT_LOGIN_ADDRESS="off",
    LIMIT_LOGIN_ACCOUNT="off",
    LIMIT_SIGNUP="off",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if STORE == "sqlite":
        return
    chosen = [item for item in items if touches_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if not touches_database(item)])
    items[:] = chosen
    missing = os.environ.get("TEST_DATABASE_MISSING")
    for item in chosen:
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))


def touches_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("one_store") is not None:
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or bool(fixtures & DATABASE_FIXTURES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(ELSEWHERE):
            report.outcome = "failed"
            report.longrepr = f"{reason} (with CI=true this may not be missing)"
    return report
