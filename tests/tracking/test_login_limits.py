"""Guessing passwords is limited at every door, before any hashing, and nobody locks others out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_login_failed
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from tracking import drainer, limiter
from tracking.models import LoginAttempt, RequestLog
from users.models import User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.tracking.limited_site"),
]

RIGHT = "correct horse battery staple"
ADMIN = "/admin/login/"
NOW = 1_800_000_000
Row = tuple[str, str, str]


@pytest.fixture(autouse=True)
def fresh(settings: Settings) -> Iterator[time_machine.Coordinates]:
    settings.TRACKING_LIMITS = {}
    limiter._memory.clear()
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock
    limiter._memory.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=RIGHT, is_staff=True)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The account of each attempt that got as far as its password."""
    seen: list[str] = []
    real = ModelBackend.authenticate

    def authenticate(self: ModelBackend, request: Any, username: Any = None, **rest: Any) -> Any:
        seen.append(username)
        return real(self, request, username=username, **rest)

    monkeypatch.setattr(ModelBackend, "authenticate", authenticate)
    return seen


def log_in(
    username: str, password: str = "guess", address: str = "198.51.100.7", **more: Any
) -> Any:
    form = {"username": username, "password": password}
    return Client().post(ADMIN, form, REMOTE_ADDR=address, **more)


def rows() -> list[Row]:
    attempts = LoginAttempt.objects.order_by("id")
    return list(attempts.values_list("account", "address", "outcome"))


def lock(account: str) -> None:
    """Use up what may be tried on an account, from addresses of strangers."""
    for number in range(10):
        log_in(account, address=f"203.0.113.{number}")


def test_five_guesses_pass_and_the_sixth_is_refused_without_hashing(
    ada: User, hashed: list[str]
) -> None:
    answers = [log_in("ada") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert len(hashed) == 5
    assert int(answers[-1]["Retry-After"]) <= 60
    assert answers[-1]["RateLimit-Policy"] == '"login_address";q=5;w=60'
    assert answers[-1].json()["violated-policies"] == ["login_address"]


def test_the_right_password_does_not_help_above_the_limit(ada: User) -> None:
    [log_in("ada") for _ in range(5)]
    refused = log_in("ada", RIGHT)
    assert refused.status_code == 429
    assert "sessionid" not in refused.cookies


def test_other_accounts_do_not_help(hashed: list[str]) -> None:
    [log_in(f"user{number}") for number in range(9)]
    assert len(hashed) == 5


def test_the_right_password_within_the_limit_logs_in(ada: User) -> None:
    answer = log_in("ada", RIGHT)
    assert (answer.status_code, "sessionid" in answer.cookies) == (302, True)
    assert rows() == [("ada", "198.51.100.7", "SUCCEEDED")]


def test_one_request_carries_no_more_guesses_than_others(hashed: list[str]) -> None:
    form = {"username": "ada", "password": [str(number) for number in range(990)]}
    assert Client().post("/attempt/", form).status_code == 429
    assert len(hashed) == 5


def test_asynchronous_code_is_limited_too(ada: User) -> None:
    post = async_to_sync(AsyncClient().post)
    form = {"username": "ada", "password": "guess"}
    assert [post("/attempt-async/", form).status_code for _ in range(6)] == [200] * 5 + [429]
    assert [outcome for *_, outcome in rows()] == ["FAILED"] * 5 + ["LIMITED"]


def test_addresses_of_one_ipv6_network_count_together(hashed: list[str]) -> None:
    [log_in(f"user{number}", address=f"2001:db8::{number:x}") for number in range(1, 41)]
    assert len(hashed) == 5


@pytest.mark.parametrize("spelling", ["ADA", "Ada", "ａｄａ", "ａＤａ", " ada"])
def test_no_spelling_of_an_account_gives_a_new_bucket(ada: User, spelling: str) -> None:
    lock("ada")
    assert log_in(spelling).status_code == 429


def test_no_spelling_passes_where_no_form_cleans_it(hashed: list[str]) -> None:
    for number, name in enumerate(["ada", "ADA", "ａｄａ", "Ａda"] * 5):
        form = {"username": name, "password": "guess"}
        Client().post("/attempt/", form, REMOTE_ADDR=f"203.0.113.{number}")
    assert len(hashed) == 10


def test_an_account_that_does_not_exist_is_limited_alike() -> None:
    lock("nobody")
    assert {outcome for *_, outcome in rows()} == {"FAILED"}
    assert log_in("nobody").status_code == 429


def test_a_stranger_cannot_lock_the_owner_out(ada: User) -> None:
    assert log_in("ada", RIGHT).status_code == 302
    lock("ada")
    assert log_in("ada", RIGHT, address="192.0.2.99").status_code == 429
    assert log_in("ada", RIGHT).status_code == 302
    drainer.drain()
    assert RequestLog.objects.latest("id").verdict == "ALLOWED"


def test_the_owner_is_known_in_his_ipv6_network(ada: User) -> None:
    log_in("ada", RIGHT, address="2001:db8::1")
    lock("ada")
    assert log_in("ada", RIGHT, address="2001:db8::ffff").status_code == 302
    assert log_in("ada", RIGHT, address="2001:db8:0:1::1").status_code == 429


def test_an_address_is_forgotten_after_thirty_days(
    ada: User, fresh: time_machine.Coordinates
) -> None:
    log_in("ada", RIGHT)
    fresh.shift(timedelta(days=30, seconds=1))
    lock("ada")
    assert log_in("ada", RIGHT).status_code == 429


@pytest.mark.parametrize("outcome", ["FAILED", "LIMITED"])
def test_only_a_login_that_succeeded_makes_an_address_known(ada: User, outcome: str) -> None:
    LoginAttempt.objects.create(
        at=timezone.now(), address="198.51.100.7", account="ada", outcome=outcome, door=ADMIN
    )
    lock("ada")
    assert log_in("ada", RIGHT).status_code == 429


def test_an_address_known_to_one_account_is_a_stranger_to_another(ada: User) -> None:
    User.objects.create_user("bob", password=RIGHT, is_staff=True)
    log_in("bob", RIGHT)
    lock("ada")
    assert log_in("ada").status_code == 429


def test_a_known_address_still_has_its_own_limit(ada: User) -> None:
    log_in("ada", RIGHT)
    lock("ada")
    assert [log_in("ada").status_code for _ in range(5)] == [200] * 4 + [429]


def test_an_address_that_is_refused_does_not_use_up_the_account(ada: User) -> None:
    [log_in("ada") for _ in range(30)]
    assert log_in("ada", RIGHT, address="192.0.2.99").status_code == 302


def test_refusing_costs_one_question_and_one_row_at_most() -> None:
    lock("ada")
    with CaptureQueriesContext(connection) as queries:
        assert log_in("ada").status_code == 429
    asked = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT"))]
    assert len(asked) == 2
    assert [sql.split()[0] for sql in asked] == ["SELECT", "INSERT"]


def test_a_limit_that_is_off_or_observed_refuses_nothing(settings: Settings, ada: User) -> None:
    settings.TRACKING_LIMITS = {"login_address": "off", "login_account": {"observed": True}}
    assert {log_in("ada").status_code for _ in range(12)} == {200}
    drainer.drain()
    newest = RequestLog.objects.latest("id")
    assert (newest.verdict, newest.limit) == ("OBSERVED", "login_account")
    assert {outcome for *_, outcome in rows()} == {"FAILED"}


def test_nobody_is_told_how_often_others_tried_an_account(ada: User) -> None:
    lock("ada")
    headers = {**log_in("ada").headers, **log_in("bob").headers}
    assert "login_account" not in str(headers)


# -- What is answered


def test_browsers_see_the_page(ada: User) -> None:
    [log_in("ada") for _ in range(5)]
    answer = log_in("ada", headers={"accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert b"Too many requests" in answer.content


def test_a_view_that_tells_the_client_itself_keeps_its_answer() -> None:
    answers = [Client().post("/attempt-and-tell/") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [answer.content for answer in answers][4:] == [b" False", b"login_address True"]


def test_without_the_middleware_the_form_just_fails(settings: Settings, ada: User) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "tracking." not in name]
    answers = [log_in("ada", RIGHT if number > 4 else "guess") for number in range(7)]
    assert {answer.status_code for answer in answers} == {200}
    assert b"Please enter the correct" in answers[-1].content
    assert [outcome for *_, outcome in rows()] == ["FAILED"] * 5 + ["LIMITED"] * 2


def test_a_refusal_is_on_record_with_the_name_of_its_limit(ada: User) -> None:
    [log_in("ada") for _ in range(6)]
    drainer.drain()
    newest = RequestLog.objects.latest("id")
    assert (newest.verdict, newest.limit, newest.status) == ("LIMITED", "login_address", 429)


# -- What is not an attempt


def test_code_without_a_request_is_not_limited(ada: User) -> None:
    assert {str(authenticate(username="ada", password=RIGHT)) for _ in range(20)} == {"ada"}
    assert authenticate(username="ada", password="guess") is None
    assert rows() == [("ada", "0.0.0.0", "FAILED")]
    assert LoginAttempt.objects.get().door == "unknown"


def test_credentials_without_a_name_are_not_counted(ada: User) -> None:
    request = RequestFactory().post("/")
    for _ in range(20):
        assert authenticate(request, remote_user="ada") is None
    assert authenticate(request, username="ada", password=RIGHT) == ada


def test_the_tests_and_commands_of_a_project_go_on_as_before(ada: User) -> None:
    client = Client()
    for _ in range(7):
        assert client.login(username="ada", password=RIGHT)
        client.force_login(ada)
    assert client.session["_auth_user_backend"] == "django.contrib.auth.backends.ModelBackend"
    assert client.get("/api/me/").content == b"ada"
    call_command("createsuperuser", "--noinput", "--username=eve", "--email=e@example.org")
    assert User.objects.get(username="eve").has_perm("users.add_user")
    assert not ada.has_perm("users.add_user")


# -- LoginAttempt


def test_every_attempt_is_one_row_with_its_door(ada: User) -> None:
    log_in("ada", RIGHT)
    log_in("ada")
    Client().post("/attempt/?token=secret", {"username": "bob", "password": "guess"})
    assert rows() == [
        ("ada", "198.51.100.7", "SUCCEEDED"),
        ("ada", "198.51.100.7", "FAILED"),
        ("bob", "127.0.0.1", "FAILED"),
    ]
    doors = LoginAttempt.objects.order_by("id").values_list("door", flat=True)
    assert list(doors) == [ADMIN, ADMIN, "/attempt/"]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("José", "José"),
        ("Ａda", "Ada"),
        ("\x1b[31m\r\nroot", r"\x1b[31m\x0d\x0aroot"),
        ("\ud800", r"\ud800"),
        ("\u202etoor", r"\u202etoor"),
        ("\ufdfa" * 300, None),
        ("x" * 100_000, "x" * 255),
        ("", ""),
    ],
    ids=ascii,
)
def test_whatever_is_typed_can_be_kept(typed: str, stored: str | None) -> None:
    request = RequestFactory().post("/attempt/" + "y" * 300)
    user_login_failed.send(__name__, credentials={"username": typed}, request=request)
    row = LoginAttempt.objects.get()
    assert stored is None or row.account == stored
    assert (len(row.account) <= 255, len(row.door)) == (True, 255)


def test_the_password_is_in_no_row(ada: User) -> None:
    log_in("ada", "hunter2")
    drainer.drain()
    kept = [*LoginAttempt.objects.values(), *RequestLog.objects.values()]
    assert "hunter2" not in str(kept)


def test_a_record_that_cannot_be_written_fails_no_login(
    ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(**_: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(LoginAttempt.objects, "create", away)
    assert log_in("ada", RIGHT).status_code == 302
    assert "could not be recorded" in caplog.text


def test_names_keep_their_letters_in_the_request_log() -> None:
    User.objects.create_user("José", password=RIGHT, is_staff=True)
    log_in("José", RIGHT)
    drainer.drain()
    assert RequestLog.objects.latest("id").username == "José"
