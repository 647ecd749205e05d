"""`manage.py setup`: the first administrator is made once, and his password told to him alone."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from users.models import User

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def state(tmp_path: Path, settings: Settings) -> Path:
    settings.STATE_DIR = tmp_path
    settings.STATIC_ROOT = tmp_path / "static"
    settings.SUPERUSER = {"username": "admin", "password": "", "email": ""}
    return tmp_path


def set_up(stdout: io.StringIO | None = None) -> str:
    stdout = stdout or io.StringIO()
    call_command("setup", stdout=stdout, stderr=stdout)
    return stdout.getvalue()


def test_a_random_password_goes_to_a_file_of_its_owner(state: Path) -> None:
    output = set_up()

    file = state / "initial-password"
    password = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in output
    assert password not in output
    user = authenticate(username="admin", password=password)
    assert user is not None
    assert user.is_superuser


def test_a_terminal_sees_the_password_and_no_file_keeps_it(state: Path) -> None:
    output = set_up(Terminal())

    assert not (state / "initial-password").exists()
    password = output.split("the password ")[1].split()[0]
    assert authenticate(username="admin", password=password) is not None


def test_a_given_password_is_taken_and_told_nobody(state: Path, settings: Settings) -> None:
    settings.SUPERUSER = {"username": "root", "password": "given secret", "email": "r@example.org"}

    output = set_up(Terminal())

    assert "given secret" not in output
    assert list(state.glob("initial*")) == []
    assert authenticate(username="root", password="given secret") is not None
    assert User.objects.get().email == "r@example.org"


def test_a_second_run_changes_nobody(settings: Settings) -> None:
    set_up()
    before = User.objects.values().get()
    settings.SUPERUSER = {"username": "admin", "password": "another secret", "email": "x@y.org"}

    set_up()

    assert User.objects.values().get() == before


def test_a_renamed_administrator_is_not_made_anew() -> None:
    set_up()
    User.objects.update(username="operator")

    set_up()

    assert [user.username for user in User.objects.all()] == ["operator"]


@pytest.mark.parametrize("name", ["admin", "ADMIN", "Ａdmin"])
def test_an_account_without_rights_is_not_raised(settings: Settings, name: str) -> None:
    User.objects.create_user("admin", password="of a stranger")
    settings.SUPERUSER = {"username": name, "password": "new secret", "email": ""}

    output = set_up()

    assert "DJANGO_SUPERUSER_USERNAME" in output
    assert not User.objects.get().is_superuser
    assert authenticate(username="admin", password="of a stranger") is not None


@pytest.mark.parametrize(("username", "email"), [("has spaces", ""), ("x" * 200, ""), ("a", "b")])
def test_a_wrong_name_is_refused_before_a_password_is_made(
    state: Path, settings: Settings, username: str, email: str
) -> None:
    settings.SUPERUSER = {"username": username, "password": "", "email": email}

    with pytest.raises(CommandError, match="DJANGO_SUPERUSER_USERNAME"):
        set_up()

    assert not (state / "initial-password").exists()
    assert not User.objects.exists()


def test_the_administrator_logs_in_by_any_spelling_of_his_name(settings: Settings) -> None:
    settings.SUPERUSER = {"username": "Zoë", "password": "given secret", "email": ""}
    set_up()
    assert authenticate(username="ZOE\u0308", password="given secret") == User.objects.get()


def test_the_roles_are_there_and_come_back() -> None:
    roles = ["administrator", "analyst", "viewer"]
    set_up()
    assert sorted(group.name for group in Group.objects.all()) == roles
    Group.objects.filter(name="viewer").delete()
    Group.objects.get(name="analyst").permissions.clear()

    set_up()

    assert sorted(group.name for group in Group.objects.all()) == roles
    analyst = Group.objects.get(name="analyst").permissions
    assert analyst.filter(codename="view_auditentry").exists()


def test_a_password_file_that_is_a_link_is_replaced_not_followed(state: Path) -> None:
    victim = state / "victim"
    victim.write_text("untouched")
    (state / "initial-password").symlink_to(victim)

    set_up()

    assert victim.read_text() == "untouched"
    assert not (state / "initial-password").is_symlink()


def test_static_files_are_collected_in_production(state: Path) -> None:
    set_up()

    assert (state / "static" / "admin" / "css" / "base.css").is_file()
    assert (state / "static" / "admin" / "css" / "base.css.gz").is_file()


def test_a_proxy_can_read_the_static_files_and_nothing_else(state: Path) -> None:
    set_up()

    static = state / "static" / "admin" / "css"
    assert stat.S_IMODE(static.stat().st_mode) == 0o755
    assert {stat.S_IMODE(file.stat().st_mode) for file in static.glob("base.css*")} == {0o644}
    assert stat.S_IMODE((state / "initial-password").stat().st_mode) == 0o600
