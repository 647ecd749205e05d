"""The keys of access tokens are renewed while everything runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.users.front import access, who
from tracking.models import AuditEntry
from users import keys
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def key_file(settings: Settings, tmp_path: Path) -> Path:
    settings.JWT_SIGNING_KEYS = []
    settings.JWT_KEYS_FILE = tmp_path / "jwt-keys"
    keys.make_file(settings.JWT_KEYS_FILE)
    return tmp_path / "jwt-keys"


def rotate(*arguments: str) -> str:
    said = io.StringIO()
    call_command("rotate_signing_key", *arguments, stdout=said)
    return said.getvalue()


def test_the_command_signs_with_a_new_key_and_still_believes_the_old(
    ada: User, key_file: Path
) -> None:
    old_secret = key_file.read_text().split(":")[1]
    old = access("ada")

    said = rotate()

    assert who(old) == who(access("ada")) == "ada"
    new = keys.signing_keys()[0]
    assert new.kid in said
    assert AuditEntry.objects.get(action="signing_key_rotated").actor == "command line"
    for secret in (new.secret, old_secret):
        assert secret not in said
        assert secret not in str(AuditEntry.objects.values().get(action="signing_key_rotated"))


def test_keys_in_wrong_hands_are_forgotten_at_once(ada: User, key_file: Path) -> None:
    old = access("ada")
    rotate("--forget-old")
    assert len(key_file.read_text().splitlines()) == 1
    assert who(old) == "UNAUTHENTICATED"
    assert who(access("ada")) == "ada"


def test_another_process_that_runs_already_signs_with_the_new_key(
    ada: User, key_file: Path, settings: Settings
) -> None:
    code = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'\n"
        "django.setup()\n"
        "from users import keys\n"
        "while input(): print(keys.signing_keys()[0].kid, flush=True)\n"
    )
    # An empty JWT_SIGNING_KEYS and the file that the developer's key would be in.
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": settings.SECRET_KEY}
    environment |= {"ENV_FILE": os.devnull, "STATE_DIR": str(key_file.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    try:
        first = asked(process)
        rotate()
        second = asked(process)
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert first != second == keys.signing_keys()[0].kid


def asked(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("which\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_keys_of_the_environment_are_told_how_to_change(ada: User, settings: Settings) -> None:
    present = settings.JWT_SIGNING_KEYS
    old = access("ada")

    said = rotate()

    line = next(line for line in said.splitlines() if "JWT_SIGNING_KEYS=" in line)
    new = line.partition("=")[2].split(",")[0]
    assert present[0].split(":")[1] not in said
    assert present == settings.JWT_SIGNING_KEYS
    settings.JWT_SIGNING_KEYS = [new, *present]
    assert who(old) == who(access("ada")) == "ada"
    settings.JWT_SIGNING_KEYS = [rotate("--forget-old").partition("=")[2].strip()]
    assert who(old) == "UNAUTHENTICATED"


@pytest.mark.parametrize("text", [None, "damaged"])
def test_a_file_that_cannot_be_read_is_told_and_stays(key_file: Path, text: str | None) -> None:
    key_file.unlink()
    if text is not None:
        key_file.write_text(text)
    with pytest.raises(CommandError, match="jwt-keys cannot be used"):
        rotate()
    assert key_file.exists() is (text is not None)
    assert [file.name for file in key_file.parent.glob("tmp*")] == []
