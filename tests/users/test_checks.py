"""Settings under which accounts would not be safe end the start, with what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

ROOT = Path(__file__).resolve().parents[2]
JWT_BACKEND = "graphql_jwt.backends.JSONWebTokenBackend"


def ids(prefix: str = "users.") -> set[str | None]:
    return {message.id for message in run_checks() if str(message.id).startswith(prefix)}


def test_the_settings_of_the_service_are_safe() -> None:
    assert ids() == set()


def test_the_backend_of_the_token_package_is_refused(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, JWT_BACKEND]
    assert ids() == {"users.E001"}


@pytest.mark.parametrize(
    "name",
    ["graphql_jwt.refresh_token", "graphql_jwt.refresh_token.apps.RefreshTokenConfig"],
)
def test_the_clear_text_refresh_tokens_of_the_package_are_refused(
    settings: Settings, name: str
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, name]
    assert "users.E002" in ids()


@pytest.mark.parametrize(
    "handlers",
    [None, {}, {"JWT_DECODE_HANDLER": "graphql_jwt.utils.jwt_decode"}],
)
def test_handlers_that_are_not_ours_are_refused(
    settings: Settings, handlers: dict[str, str] | None
) -> None:
    if handlers is None:
        del settings.GRAPHQL_JWT
    else:
        settings.GRAPHQL_JWT = {**settings.GRAPHQL_JWT, **handlers} if handlers else {}
    assert ids() == {"users.E003"}


@pytest.mark.parametrize(
    ("package", "version"), [("graphene", "3.0b7"), ("django-graphql-jwt", "0.3.2")]
)
def test_packages_that_do_not_fit_are_told(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version if name == package else real(name)
    )
    told = [message for message in run_checks() if message.id == "users.E004"]
    assert len(told) == 1
    assert "pip install -r requirements.txt" in told[0].msg


def test_a_token_package_that_cannot_be_imported_ends_the_start_with_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "graphql_jwt.py").write_text("from graphql.execution import ExecutionContexts\n")
    environment = {name: os.environ[name] for name in ("PATH", "SECRET_KEY", "JWT_SIGNING_KEYS")}
    environment |= {"ENV_FILE": os.devnull, "STATE_DIR": str(tmp_path / "state")}
    answer = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert "pip install -r requirements.txt" in answer.stderr.splitlines()[-1]


def test_tokens_are_looked_at_behind_cookies(settings: Settings) -> None:
    bearer = "users.middleware.BearerMiddleware"
    others = [name for name in settings.MIDDLEWARE if name != bearer]
    for middleware in (others, [bearer, *others]):
        settings.MIDDLEWARE = middleware
        assert ids() == {"users.E005"}


@pytest.mark.parametrize("text", [None, "damaged", "a:b:c", "\xff"])
def test_keys_that_cannot_be_read_are_told(
    settings: Settings, tmp_path: Path, text: str | None
) -> None:
    settings.JWT_SIGNING_KEYS = []
    settings.JWT_KEYS_FILE = tmp_path / "jwt-keys"
    if text is not None:
        settings.JWT_KEYS_FILE.write_text(text, "latin-1")
    assert ids() == {"users.E006"}


def test_a_key_that_is_also_that_of_django_is_refused(settings: Settings) -> None:
    settings.JWT_SIGNING_KEYS = [f"one:{settings.SECRET_KEY}"]
    assert ids() == {"users.E007"}


def test_logins_without_a_limit_are_told(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    settings.AUTHENTICATION_BACKENDS = settings.AUTHENTICATION_BACKENDS[::-1]
    assert "tracking.W007" in ids("tracking.")


def test_every_check_is_explained() -> None:
    source = (ROOT / "users" / "checks.py").read_text()
    page = (ROOT / "docs" / "settings.md").read_text()
    found = re.findall(r'"(users\.[EW]\d+)"', source)
    assert found
    assert [check for check in found if f"| {check} |" not in page] == []
