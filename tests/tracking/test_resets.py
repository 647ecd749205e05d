"""Limits that are reset: by whom, for whom, in every process, and on record."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from tests import redis_server
from tests.acceptance.test_durability import await_answer, free_port
from tests.schema.record import ask
from tracking import conf, limiter, resets
from tracking.audit import COMMAND_LINE
from tracking.engine.limits import ClientClass
from tracking.models import AuditEntry, Counter
from users.models import User

ROOT = Path(__file__).parents[2]
L = 5
MUTATION = """
    mutation Reset($input: ResetRateLimitInput!) {
      resetRateLimit(input: $input) {
        reset { limit key at }
        errors { __typename code message path }
      }
    }
"""


@pytest.fixture(autouse=True)
def table(settings: Settings) -> Iterator[None]:
    settings.TRACKING_LIMITS = {
        "graphql": "off",
        "guesses": f"{L}/d,50/h",
        "login_address": f"{L}/d",
        "login_account": f"{L}/d",
    }
    limiter._counters().clear()
    resets._seen = 0
    resets._own.clear()
    yield
    limiter._counters().clear()


@pytest.fixture
def administrator(transactional_db: None) -> Client:
    client = Client(REMOTE_ADDR="198.51.100.7")
    client.force_login(User.objects.create_superuser("root"))
    limiter._counters().clear()
    return client


def use(limit: str, key: str, times: int = L) -> None:
    for _ in range(times):
        limiter.check(conf.current().limits[limit], ClientClass.ANONYMOUS, key)


def left(limit: str, key: str) -> int:
    rule = conf.current().limits[limit]
    _, states = limiter.check(rule, ClientClass.ANONYMOUS, key, increment=False)
    return states[0].remaining


def reset(client: Client, **input_: Any) -> dict[str, Any]:
    answer = ask(client, MUTATION, input=input_)
    assert "errors" not in answer, answer
    payload: dict[str, Any] = answer["data"]["resetRateLimit"]
    return payload


# Whose


def test_an_address_starts_anew_and_the_others_do_not(administrator: Client) -> None:
    for number in (1, 2):
        use("guesses", f"address:192.0.2.{number}")
    payload = reset(administrator, limit="guesses", address="192.0.2.1")
    assert payload["errors"] == []
    assert (payload["reset"]["limit"], payload["reset"]["key"]) == (
        "guesses",
        "address:192.0.2.1",
    )
    assert left("guesses", "address:192.0.2.1") == L
    assert left("guesses", "address:192.0.2.2") == 0


def test_an_ipv6_address_starts_anew_with_its_network(administrator: Client) -> None:
    use("login_address", "address:2001:db8::/64")
    payload = reset(administrator, limit="login_address", address="2001:db8::17")
    assert payload["reset"]["key"] == "address:2001:db8::/64"
    assert left("login_address", "address:2001:db8::/64") == L


def test_a_user_starts_anew(administrator: Client) -> None:
    ada = User.objects.create_user("ada")
    use("guesses", f"user:{ada.pk}")
    assert reset(administrator, limit="guesses", username="ada")["errors"] == []
    assert left("guesses", f"user:{ada.pk}") == L


@pytest.mark.parametrize("spelling", ["ada", "ADA", "ａｄａ"])
def test_an_account_starts_anew_in_any_spelling_and_whether_it_exists(
    administrator: Client, spelling: str
) -> None:
    use("login_account", "account:ada")
    assert reset(administrator, limit="login_account", username=spelling)["errors"] == []
    assert left("login_account", "account:ada") == L


# What does not fit


@pytest.mark.parametrize(
    ("input_", "code", "argument", "words"),
    [
        ({"limit": "gueses", "address": "192.0.2.1"}, "NOT_FOUND", "limit", "one of graphql, gue"),
        ({"limit": "x\x00\u202e" * 999, "address": "192.0.2.1"}, "NOT_FOUND", "limit", "There is"),
        ({"limit": "guesses", "username": "nobody"}, "NOT_FOUND", "username", "'nobody'"),
        ({"limit": "guesses", "username": "a\x00b"}, "NOT_FOUND", "username", "'a\\x00b'"),
        ({"limit": "guesses", "username": "a" * 9999}, "NOT_FOUND", "username", "aaa..."),
        ({"limit": "guesses"}, "INVALID_INPUT", "address", "either"),
        ({"limit": "guesses", "address": None, "username": ""}, "INVALID_INPUT", "address", "eith"),
        (
            {"limit": "guesses", "address": "192.0.2.1", "username": "ada"},
            "INVALID_INPUT",
            "address",
            "either",
        ),
        (
            {"limit": "login_account", "address": "192.0.2.1"},
            "INVALID_INPUT",
            "address",
            "counts accounts",
        ),
        (
            {"limit": "login_address", "username": "ada"},
            "INVALID_INPUT",
            "username",
            "counts addresses",
        ),
    ],
)
def test_what_does_not_fit_is_a_typed_error_and_changes_nothing(
    administrator: Client, input_: dict[str, str], code: str, argument: str, words: str
) -> None:
    payload = reset(administrator, **input_)
    (error,) = payload["errors"]
    assert payload["reset"] is None
    assert (error["__typename"], error["code"]) == ("InputError", code)
    assert error["path"] == ["input", argument]
    assert words in error["message"]
    assert len(error["message"]) < 400
    assert not AuditEntry.objects.exists()


def test_a_text_that_is_no_address_is_bad_input(administrator: Client) -> None:
    for address in ("192.0.2", "192.0.2.1/32", "192.0.2.1:80", "", "fe80::1%eth0"):
        answer = ask(administrator, MUTATION, input={"limit": "guesses", "address": address})
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert not AuditEntry.objects.exists()


# Who may


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_known", [False, True])
def test_whoever_may_not_changes_nothing(is_known: bool) -> None:
    client = Client()
    if is_known:
        client.force_login(User.objects.create_user("colleague", is_staff=True))
    use("guesses", "address:192.0.2.1")
    answer = ask(client, MUTATION, input={"limit": "guesses", "address": "192.0.2.1"})
    assert answer["data"] == {"resetRateLimit": None}
    expected = "FORBIDDEN" if is_known else "UNAUTHENTICATED"
    assert answer["errors"][0]["extensions"]["code"] == expected
    assert left("guesses", "address:192.0.2.1") == 0
    assert not AuditEntry.objects.exists()


# On record


def test_a_reset_is_on_record_with_who_when_from_where_and_why(administrator: Client) -> None:
    reset(administrator, limit="guesses", address="192.0.2.1", reason="he called\r\nme")
    (entry,) = AuditEntry.objects.all()
    assert (entry.actor, entry.actor_pk) == ("root", str(User.objects.get().pk))
    assert entry.address == "198.51.100.7"
    assert (entry.action, entry.target) == ("reset_limit", "guesses address:192.0.2.1")
    assert entry.reason == r"he called\x0d\x0ame"
    assert entry.after == {"limit": "guesses", "key": "address:192.0.2.1"}


@pytest.mark.django_db(transaction=True)
def test_a_reset_that_is_rolled_back_resets_nothing() -> None:
    use("guesses", "address:192.0.2.1")
    with transaction.atomic():
        resets.reset(COMMAND_LINE, "guesses", address="192.0.2.1")
        transaction.set_rollback(True)
    assert left("guesses", "address:192.0.2.1") == 0
    assert not AuditEntry.objects.exists()


# By command


@pytest.mark.django_db(transaction=True)
def test_the_command_resets_and_is_on_record_as_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    use("login_account", "account:ada")
    call_command("reset_rate_limit", "login_account", "--username", "Ada", "--reason", "ticket 7")
    assert left("login_account", "account:ada") == L
    assert capsys.readouterr().out == (
        "login_account: what was counted for account:ada is forgotten\n"
    )
    (entry,) = AuditEntry.objects.all()
    assert (entry.actor, entry.address, entry.reason) == ("command line", None, "ticket 7")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "--address", "192.0.2.1"], "There is no limit 'nothing'"),
        (["guesses", "--address", "192.0.2.0/24"], "is not an address"),
        (["guesses", "--username", "nobody"], "There is no user 'nobody'"),
        (["guesses", "--username", "\udcff"], r"There is no user '\udcff'"),
        (["login_address", "--username", "ada"], "counts addresses"),
        (["guesses"], "required"),
        (["guesses", "--address", "192.0.2.1", "--username", "ada"], "not allowed with"),
    ],
)
def test_the_command_says_what_does_not_fit(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words.replace("\\", "\\\\")):
        call_command("reset_rate_limit", *arguments)


# In other processes


@pytest.mark.django_db(transaction=True)
def test_a_process_does_not_follow_its_own_reset_a_second_time() -> None:
    resets.reset(COMMAND_LINE, "guesses", address="192.0.2.1")
    use("guesses", "address:192.0.2.1", 2)
    resets.refresh()
    assert left("guesses", "address:192.0.2.1") == L - 2


@pytest.mark.django_db
def test_a_process_that_counts_nothing_asks_nothing(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        resets.refresh()
    use("guesses", "address:192.0.2.1")
    with django_assert_num_queries(1):
        resets.refresh()


@pytest.mark.django_db(transaction=True)
def test_a_reset_of_a_limit_this_process_does_not_know_is_passed_over() -> None:
    use("guesses", "address:192.0.2.1")
    resets.reset(COMMAND_LINE, "guesses", address="192.0.2.2")
    AuditEntry.objects.update(after={"limit": "elsewhere", "key": "address:192.0.2.1"})
    resets._own.clear()
    resets.refresh()
    assert left("guesses", "address:192.0.2.1") == 0
    assert resets._seen == Counter.objects.get(name=resets.NEWEST).value


@pytest.mark.django_db(transaction=True)
def test_counters_in_redis_are_reset_once_by_whoever_decides_it(settings: Settings) -> None:
    with redis_server.running() as server:
        settings.TRACKING_REDIS_URL = server.url
        use("guesses", "address:192.0.2.1")
        use("guesses", "address:192.0.2.2")
        resets.reset(COMMAND_LINE, "guesses", address="192.0.2.1")
        assert left("guesses", "address:192.0.2.1") == L
        assert left("guesses", "address:192.0.2.2") == 0
        use("guesses", "address:192.0.2.1", 2)
        limiter._memory.count("counted while Redis was away", 1, 60)
        resets._own.clear()  # as in any other process
        resets.refresh()
        assert left("guesses", "address:192.0.2.1") == L - 2


class Service:
    """A web server of its own process, which counts in its memory."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str, session: str = "") -> tuple[int, dict[str, Any]]:
        token = "t" * 32
        headers = {"Content-Type": "application/json", "Host": "localhost"}
        if session:
            headers |= {"Cookie": f"sessionid={session}; csrftoken={token}", "X-CSRFToken": token}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/graphql/", json.dumps({"query": query}), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def use_up(self) -> int:
        """Return how often it answers before it refuses."""
        for number in range(10 * L):
            status, _ = self.ask("{__typename}")
            if status != 200:
                assert status == 429
                return number
        pytest.fail("nothing is limited")

    def seconds_until_it_answers(self) -> float:
        began = time.monotonic()
        while self.ask("{__typename}")[0] != 200:
            assert time.monotonic() - began < 10, "the reset never arrived"
            time.sleep(0.01)
        return time.monotonic() - began


@contextmanager
def service(environment: dict[str, str], log: Path) -> Iterator[Service]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "project.wsgi"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"PORT": str(port)},
            stdout=output,
            stderr=output,
        )
    try:
        await_answer(port)
        yield Service(port)
    finally:
        process.terminate()
        process.wait(20)


def manage(environment: dict[str, str], *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout


SESSION = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from users.models import User
user = User.objects.create_superuser("root")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""


def test_a_reset_in_one_process_is_in_force_in_another_within_a_second(tmp_path: Path) -> None:
    environment = os.environ | {
        "STATE_DIR": str(tmp_path),
        "WEB_WORKERS": "1",
        "DATABASE_URL": "",
        "LIMIT_GRAPHQL": f"{L}/d",
    }
    manage(environment, "migrate", "-v0")
    session = manage(environment, "shell", "-v0", "-c", SESSION).strip()
    mutation = 'mutation {resetRateLimit(input: {limit: "graphql", address: "127.0.0.1"})'
    with (
        service(environment, tmp_path / "one.log") as one,
        service(environment, tmp_path / "two.log") as two,
    ):
        assert two.use_up() == L
        for _ in range(5):
            status, answer = one.ask(mutation + " {errors {message}}}", session)
            assert (status, answer) == (200, {"data": {"resetRateLimit": {"errors": []}}})
            assert two.seconds_until_it_answers() < 1
            assert two.use_up() == L - 1  # the first answer was one
        manage(environment, "reset_rate_limit", "graphql", "--address", "127.0.0.1")
        assert two.seconds_until_it_answers() < 1
