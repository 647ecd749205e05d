"""What ends access in one process ends it in the others within a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.deployment import Service, environment, manage, serve
from tests.users.front import CHANGE, LOG_IN, LOG_OUT, ME, REFRESH

pytestmark = pytest.mark.xdist_group("sessions")

RIGHT, NEW = "correct horse battery staple", "another horse, another staple"


@dataclass(frozen=True)
class Deployment:
    """Two processes on one database, and its commands."""

    env: dict[str, str]
    here: Service
    there: Service

    def python(self, statement: str) -> None:
        manage(self.env, "shell", "-v0", "-c", f"from users.models import User; {statement}")

    def log_in(self, name: str) -> dict[str, str]:
        answer = self.here.ask(LOG_IN, username=name, password=RIGHT)
        payload: dict[str, str] = answer["data"]["login"]
        return payload


def who(service: Service, token: str) -> str:
    answer = service.ask(ME, token)
    refused = answer.get("errors")
    return str(refused[0]["extensions"]["code"] if refused else answer["data"]["me"]["username"])


def log_out(both: Deployment, name: str, token: str) -> None:
    assert both.here.ask(LOG_OUT, token)["data"]["logout"]["sessionsEnded"] == 1


def change_password(both: Deployment, name: str, token: str) -> None:
    answer = both.here.ask(CHANGE, token, oldPassword=RIGHT, newPassword=NEW)
    assert answer["data"]["changePassword"]["errors"] == []


def change_password_by_command(both: Deployment, name: str, token: str) -> None:
    manage(both.env, "changepassword", name, typed=f"{NEW}\n{NEW}\n")


def deactivate(both: Deployment, name: str, token: str) -> None:
    both.python(f"User.objects.filter(username={name!r}).update(is_active=False)")


def delete(both: Deployment, name: str, token: str) -> None:
    both.python(f"User.objects.get(username={name!r}).delete()")


ENDS = [log_out, change_password, change_password_by_command, deactivate, delete]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    state = tmp_path_factory.mktemp("sessions")
    env = environment(state)
    manage(env, "migrate", "-v0")
    names = [*(end.__name__ for end in ENDS), "old", "new"]
    make = f"[User.objects.create_user(name, password={RIGHT!r}) for name in {names}]"
    manage(env, "shell", "-v0", "-c", f"from users.models import User; {make}")
    with serve(env, state / "here.log") as here, serve(env, state / "there.log") as there:
        yield Deployment(env, here, there)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_access_ends_in_the_other_process_within_a_second(
    deployment: Deployment, end: Callable[[Deployment, str, str], None]
) -> None:
    name = end.__name__
    tokens = deployment.log_in(name)
    assert who(deployment.there, tokens["accessToken"]) == name
    end(deployment, name, tokens["accessToken"])
    ended = time.monotonic()
    while who(deployment.there, tokens["accessToken"]) == name:
        assert time.monotonic() - ended < 1
    assert who(deployment.there, tokens["accessToken"]) == "UNAUTHENTICATED"
    answer = deployment.there.ask(REFRESH, refreshToken=tokens["refreshToken"])
    assert answer["data"]["refreshToken"]["errors"][0]["code"] == "INVALID_TOKEN"


def test_a_new_key_signs_and_verifies_everywhere_and_the_old_one_goes_on(
    deployment: Deployment,
) -> None:
    old = deployment.log_in("old")["accessToken"]
    manage(deployment.env, "rotate_signing_key")
    new = deployment.log_in("new")["accessToken"]
    assert old.split(".")[0] != new.split(".")[0]
    for service in (deployment.here, deployment.there):
        assert (who(service, old), who(service, new)) == ("old", "new")
