"""Accounts over REST: what goes in and out, and that nothing strange brings it down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tracking import journal, limiter
from tracking.models import AuditEntry, LoginAttempt
from users.models import RefreshToken, Session, User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery 1"
DOORS = ("signup", "login", "refresh", "logout")
ADA = {"username": "ada", "password": PASSWORD}


@pytest.fixture(autouse=True)
def counts_start_anew() -> Iterator[None]:
    limiter._memory.clear()
    yield
    limiter._memory.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", "ada@example.org", PASSWORD)


def post(door: str, body: object = None, token: str = "", **extra: Any) -> HttpResponse:
    """Ask a door as a program does that knows nothing of cookies, and minds CSRF."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra.setdefault("content_type", "application/json")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    client = extra.pop("client", None) or Client(enforce_csrf_checks=True)
    return client.post(f"/api/{door}/", data, headers=headers, **extra)


def logged_in() -> dict[str, Any]:
    return post("login", ADA).json()


def is_signed_in(token: str) -> bool:
    return post("logout", {"everywhere": False}, token).status_code == 200


def test_a_newcomer_signs_up_logs_in_refreshes_and_logs_out() -> None:
    made = post("signup", ADA | {"email": "ada@example.org"})
    assert made.status_code == 201
    assert made.json() == {"user": {"username": "ada", "email": "ada@example.org"}}

    login = post("login", ADA | {"username": "ADA"})
    assert login.status_code == 200
    assert login["Content-Type"] == "application/json"
    assert login["Cache-Control"] == "no-store"
    assert not login.cookies
    first = login.json()
    assert set(first) == {
        "accessToken", "accessTokenExpiresAt", "refreshToken", "refreshTokenExpiresAt", "user",
    }  # fmt: skip
    assert first["accessTokenExpiresAt"].endswith("Z")

    again = post("refresh", {"refreshToken": first["refreshToken"]})
    assert again.status_code == 200
    assert again.json()["refreshToken"] != first["refreshToken"]

    out = post("logout", token=again.json()["accessToken"], body={})
    assert (out.status_code, out.json()) == (200, {"sessionsEnded": 1})
    assert post("logout", {}, first["accessToken"]).status_code == 401
    assert post("refresh", {"refreshToken": again.json()["refreshToken"]}).status_code == 401


def test_logging_out_needs_no_body_and_can_end_every_session(ada: User) -> None:
    tokens = [logged_in()["accessToken"] for _ in range(3)]
    assert post("logout", b"", tokens[0], content_type="").json() == {"sessionsEnded": 1}
    assert post("logout", {"everywhere": True}, tokens[1]).json() == {"sessionsEnded": 2}
    assert not is_signed_in(tokens[2])


def test_a_refresh_token_that_is_used_twice_ends_its_session(ada: User) -> None:
    stolen = logged_in()["refreshToken"]
    mine = post("refresh", {"refreshToken": stolen}).json()

    refused = post("refresh", {"refreshToken": stolen})

    assert refused.status_code == 401
    assert refused.json()["code"] == "INVALID_TOKEN"
    assert post("refresh", {"refreshToken": mine["refreshToken"]}).status_code == 401
    assert AuditEntry.objects.filter(action="session_reused").count() == 1


@pytest.mark.parametrize(
    ("password", "active"), [("wrong", True), (PASSWORD, False), (f" {PASSWORD}", True)]
)
def test_a_failed_login_never_says_why(ada: User, password: str, active: bool) -> None:
    User.objects.filter(pk=ada.pk).update(is_active=active)
    refused = post("login", {"username": "ada", "password": password})
    unknown = post("login", {"username": "nobody", "password": password})

    assert refused.status_code == 401
    assert refused["Content-Type"] == "application/problem+json"
    assert refused["WWW-Authenticate"] == "Bearer"
    assert refused["Cache-Control"] == "no-store"
    assert refused.content == unknown.content
    assert refused.json()["code"] == "INVALID_CREDENTIALS"
    outcomes = LoginAttempt.objects.values_list("account", "outcome", "door").order_by("pk")
    assert list(outcomes) == [
        ("ada", "FAILED", "/api/login/"), ("nobody", "FAILED", "/api/login/"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"username": "ADA"}, "username", "USERNAME_TAKEN"),
        ({"username": "two words"}, "username", "INVALID_INPUT"),
        ({"username": "x" * 151}, "username", "INVALID_INPUT"),
        ({"username": ""}, "username", "INVALID_INPUT"),
        ({"username": "\x00"}, "username", "INVALID_INPUT"),
        ({"username": "bob", "email": "none"}, "email", "INVALID_INPUT"),
        ({"username": "bob", "password": "short"}, "password", "WEAK_PASSWORD"),
        ({"username": "bob", "password": "password123"}, "password", "WEAK_PASSWORD"),
        ({"username": "augusta-ada", "password": "augusta-ada1"}, "password", "WEAK_PASSWORD"),
        ({"username": "bob", "password": "x" * 1025}, "password", "WEAK_PASSWORD"),
        ({"username": "bob", "is_superuser": True}, "is_superuser", "INVALID_INPUT"),
        ({"username": "bob", "id": "1"}, "id", "INVALID_INPUT"),
        ({"username": None}, "username", "INVALID_INPUT"),
        ({"username": 7}, "username", "INVALID_INPUT"),
        ({"username": ["bob"]}, "username", "INVALID_INPUT"),
        ({"username": "bob", "email": {}}, "email", "INVALID_INPUT"),
    ],
)
def test_a_wrong_signup_says_which_field_and_changes_nothing(
    ada: User, change: dict[str, object], field: str, code: str
) -> None:
    refused = post("signup", ADA | change)

    assert refused.status_code == 400
    problem = refused.json()
    assert list(problem["errors"]) == [field]
    assert problem["code"] == code
    assert problem["status"] == 400
    assert PASSWORD not in refused.content.decode()
    assert User.objects.count() == 1


def test_a_newcomer_may_do_nothing_but_be_himself() -> None:
    post("signup", ADA)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.groups.count()) == (False, False, 0)


def test_where_signup_is_closed_nobody_gets_in(settings: Settings) -> None:
    settings.SIGNUP_OPEN = False
    refused = post("signup", ADA)
    assert (refused.status_code, refused.json()["code"]) == (403, "SIGNUP_CLOSED")
    assert not User.objects.exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_only_post_is_answered(door: str, method: str) -> None:
    refused = getattr(Client(), method)(f"/api/{door}/")
    assert refused.status_code == 405
    assert refused["Allow"] == "POST"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonp", "application/graphql+json", ""],
)  # fmt: skip
def test_anything_but_json_is_not_read(door: str, content_type: str) -> None:
    refused = post(door, ADA, content_type=content_type)
    assert refused.status_code == 415
    assert refused["Accept"] == "application/json"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        b"{", b"null", b"[]", b"7", b'"ada"', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
        b"[" * 60_000, b'{"a":' * 10_000, b"7" * 60_000, b'{"username": "\\ud800"}',
        b'{"\\udfff": 1}', b"{} {}", b"{'username': 'ada'}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(door: str, body: bytes) -> None:
    refused = post(door, body)
    assert refused.status_code == 400
    assert refused.json()["code"] == "INVALID_INPUT"
    assert "errors" not in refused.json()
    assert refused["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("door", DOORS)
def test_a_body_beyond_the_limit_is_refused(door: str) -> None:
    big = b'{"username": "' + b"x" * 65_536 + b'"}'
    assert post(door, big).status_code == 413


def test_a_cookie_session_does_nothing_here(ada: User) -> None:
    token = logged_in()["accessToken"]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)

    refused = post("logout", {"everywhere": True}, client=browser)

    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == "Bearer"
    assert Session.objects.live().count() == 1
    assert is_signed_in(token)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer x", "Bearer a.b.c", "Basic YWRhOmFkYQ==", "", "Bearer " + "x" * 9000],
)
def test_a_token_that_is_none_is_refused(ada: User, authorization: str) -> None:
    refused = Client().post(
        "/api/logout/", b"{}", "application/json", headers={"authorization": authorization}
    )
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith("Bearer")
    assert refused.json()["code"] == "UNAUTHENTICATED"


def test_refused_logins_answer_429_with_the_right_password_too(
    ada: User, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    for _ in range(5):
        assert post("login", ADA | {"password": "wrong"}).status_code == 401

    refused = post("login", ADA)

    assert refused.status_code == 429
    assert refused["Content-Type"].startswith("application/problem+json")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused.json()["violated-policies"] == ["login_address"]
    assert not Session.objects.exists()
    assert LoginAttempt.objects.filter(outcome="LIMITED").count() == 1


def test_the_doors_share_the_limit_of_the_api(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "3/m"}
    answers = [post(door, {}).status_code for door in DOORS]
    assert answers == [400, 400, 400, 429]


def test_signups_share_one_limit_with_those_of_graphql(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "signup": "2/m"}
    mutation = """mutation($input: SignupInput!) {
        signup(input: $input) { errors { code } user { username } }
    }"""
    body = {"query": mutation, "variables": {"input": ADA}}
    by_graphql = Client().post("/graphql/", body, "application/json").json()
    assert by_graphql["data"]["signup"]["user"] == {"username": "ada"}

    assert post("signup", ADA | {"username": "bob"}).status_code == 201
    assert Client().get("/api/signup/").status_code == 405
    refused = post("signup", ADA | {"username": "eve"})
    by_graphql = Client().post("/graphql/", body, "application/json").json()

    assert refused.status_code == 429
    assert refused.json()["violated-policies"] == ["signup"]
    assert by_graphql["data"]["signup"]["errors"] == [{"code": "RATE_LIMITED"}]
    assert User.objects.count() == 2


@pytest.mark.parametrize("debug", [True, False])
def test_a_path_without_its_slash_is_the_same_door(settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug
    settings.TRACKING_LIMITS = {"graphql": "off", "signup": "1/m"}
    client = Client()
    assert client.post("/api/signup", ADA, "application/json").status_code == 201
    assert client.post("/api/login", ADA, "application/json").status_code == 200
    assert post("signup", ADA).status_code == 429


def test_secrets_are_never_on_record(ada: User) -> None:
    tokens = logged_in()
    post("login", {"username": "ada", "password": "a-wrong-secret"})
    segment = journal.mine().segment
    assert segment is not None
    written = segment.read_bytes()
    assert b"/api/login/" in written
    for secret in (PASSWORD, "a-wrong-secret", tokens["accessToken"], tokens["refreshToken"]):
        assert secret.encode() not in written
    assert not RefreshToken.objects.filter(digest=tokens["refreshToken"]).exists()


texts = st.text(max_size=40) | st.sampled_from(["\ud800", "\x00", "ada", "ﷺ" * 150, "x" * 2000])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["username", "password", "email", "refreshToken", "everywhere"]) | texts
bodies = st.binary(min_size=1, max_size=80) | st.dictionaries(names, values, max_size=5).map(
    lambda body: json.dumps(body).encode()
)


@hypothesis_settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(door=st.sampled_from(DOORS), body=bodies)
def test_no_body_brings_a_door_down(door: str, body: bytes) -> None:
    answer = post(door, body)
    assert answer.status_code in {200, 201, 400, 401, 403}
    assert answer.json()
