"""What `manage.py check --deploy` says of a deployment, beside Django's own checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


def ids() -> set[str]:
    found = {message.id or "" for message in run_checks(include_deployment_checks=True)}
    return {name for name in found if name.startswith(("tracking.", "project."))}


@pytest.mark.parametrize(("mode", "told"), [(0o700, False), (0o750, True), (0o705, True)])
def test_a_state_folder_that_others_can_look_into_is_told(
    settings: Settings, tmp_path: Path, mode: int, told: bool
) -> None:
    settings.TRACKING_STATE_DIR = tmp_path / "state"
    assert "tracking.W050" not in ids()  # it is made at the first request, private

    (tmp_path / "state").mkdir(mode)
    (tmp_path / "state").chmod(mode)

    assert ("tracking.W050" in ids()) is told


@pytest.mark.parametrize(
    ("redirect", "proxies", "socket", "told"),
    [
        (True, [], False, True),
        (True, ["10.0.0.1"], False, False),
        (True, [], True, False),
        (False, [], False, False),
    ],
)
def test_redirects_that_never_end_are_told(
    settings: Settings, redirect: bool, proxies: list[str], socket: bool, told: bool
) -> None:
    settings.SECURE_SSL_REDIRECT = redirect
    settings.TRACKING_TRUSTED_PROXIES = proxies
    settings.TRACKING_TRUSTED_UNIX_SOCKET = socket

    assert ("project.W002" in ids()) is told


def test_a_first_password_that_lies_about_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    assert "project.W003" not in ids()

    (tmp_path / "initial-password").write_text("secret")

    assert "project.W003" in ids()
