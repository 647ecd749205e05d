"""A token counts in the Authorization header, on the paths of the API, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from tests.users.front import ME, RIGHT, access, ask, code, who
from users.models import User

pytestmark = pytest.mark.django_db
ADMIN = "/admin/login/"


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=RIGHT)


@pytest.fixture
def token(root: User) -> str:
    return access("root")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_read_in_any_letter_case(token: str, scheme: str) -> None:
    assert code(ask(ME, None, Client(headers={"Authorization": f"{scheme} {token}"}))) == "ALLOWED"


@pytest.mark.parametrize(
    "scheme", ["", "JWT ", "Token ", "Basic ", "Bearer:", "Bearer=", "Bearer Bearer ", "Bearer,"]
)
def test_no_other_scheme_is_read(token: str, scheme: str) -> None:
    client = Client(headers={"Authorization": f"{scheme}{token}"})
    assert code(ask(ME, None, client)) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "name", ["JWT", "jwt", "token", "access_token", "accessToken", "Authorization", "sessionid"]
)
def test_a_token_in_a_cookie_is_nothing(token: str, name: str) -> None:
    client = Client()
    client.cookies[name] = token
    assert code(ask(ME, None, client)) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "name", ["X-Authorization", "X-Access-Token", "JWT", "Token", "Proxy-Authorization", "X-JWT"]
)
def test_a_token_in_another_header_is_nothing(token: str, name: str) -> None:
    client = Client(headers={name: f"Bearer {token}"})
    assert code(ask(ME, None, client)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", ["token", "jwt", "access_token", "Authorization"])
def test_a_token_in_the_address_or_the_body_is_nothing(token: str, name: str) -> None:
    path = f"/graphql/?{name}={token}"
    body = {"query": ME, name: token, "variables": {name: token}}
    answer = Client().post(path, body, content_type="application/json")
    assert code(answer.json()) == "UNAUTHENTICATED"
    answer = Client().get("/graphql/", {"query": ME, name: token})
    assert code(answer.json()) == "UNAUTHENTICATED"


def test_a_query_by_get_takes_the_header_too(token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = Client().get("/graphql/", {"query": ME}, headers=headers)
    assert answer.json() == {"data": {"me": {"username": "root"}}}


def test_the_token_of_a_header_needs_no_csrf_token(token: str) -> None:
    assert code(ask(ME, token, Client(enforce_csrf_checks=True))) == "ALLOWED"


def test_a_session_alone_needs_one(root: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    answer = client.post("/graphql/", {"query": ME}, content_type="application/json")
    assert answer.status_code == 403


@pytest.mark.parametrize("header", ["Bearer x", "Bearer ", "", "Basic cm9vdDpyb290"])
def test_a_header_that_is_no_good_is_not_made_up_for_by_a_session(root: User, header: str) -> None:
    client = Client(headers={"Authorization": header})
    client.force_login(root)
    assert code(ask(ME, None, client)) == "UNAUTHENTICATED"


def test_the_header_counts_where_a_session_says_something_else(token: str, ada: User) -> None:
    client = Client()
    client.force_login(ada)
    answer = ask(ME, token, client)
    assert answer["data"]["me"]["username"] == "root"


def test_limits_by_user_look_the_token_up_once(token: str, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    with CaptureQueriesContext(connection) as queries:
        assert who(token) == "root"
    assert len(queries) == 1


def test_limits_do_not_look_a_forged_token_up(root: User, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    with CaptureQueriesContext(connection) as queries:
        assert who("x.y.z") == "UNAUTHENTICATED"
    assert len(queries) == 0


def test_limits_by_user_follow_the_user_of_the_token(ada: User, settings: Settings) -> None:
    token = access("ada")
    settings.TRACKING_LIMITS = {}
    assert [who(token) for _ in range(10)] == ["ada"] * 10
    answer = Client(headers={"Authorization": f"Bearer {token}"}).get("/graphql/", {"query": ME})
    assert answer.status_code == 429


@pytest.mark.django_db(transaction=True)
def test_asynchronous_servers_read_the_token_too(token: str) -> None:
    post = async_to_sync(AsyncClient().post)
    answer = post(
        "/graphql/",
        json.dumps({"query": ME}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.json() == {"data": {"me": {"username": "root"}}}


# -- What a token does not open


def pages() -> Iterator[str]:
    yield from (reverse("admin:index"), reverse("admin:password_change"))
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        yield reverse(f"{name}_change", args=[1])


@pytest.mark.parametrize("carrier", ["header", "cookie"])
def test_a_token_opens_no_page_of_the_admin(token: str, carrier: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {token}"} if carrier == "header" else None)
    if carrier == "cookie":
        client.cookies["JWT"] = token
    for page in pages():
        answer = client.get(page)
        assert (answer.status_code, answer.url.split("?")[0]) == (302, ADMIN), page


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_token_does_not_stand_in_for_the_password_of_the_admin(token: str, password: str) -> None:
    for client in (Client(), Client(headers={"Authorization": f"Bearer {token}"})):
        client.cookies["JWT"] = token
        answer = client.post(ADMIN, {"username": "root", "password": password})
        assert (answer.status_code, "sessionid" in answer.cookies) == (200, False)


def test_a_stale_cookie_does_not_keep_anybody_out_of_the_admin(root: User) -> None:
    client = Client(headers={"Authorization": "Bearer x.y.z"})
    client.cookies["JWT"] = "x.y.z"
    answer = client.post(f"{ADMIN}?next=/admin/", {"username": "root", "password": RIGHT})
    assert (answer.status_code, "sessionid" in answer.cookies) == (302, True)
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "path", ["//graphql/../admin/", "/graphql/../admin/", "/api/../admin/", "/admin/graphql/"]
)
def test_no_spelling_of_a_path_takes_a_token_elsewhere(token: str, path: str) -> None:
    answer = Client(headers={"Authorization": f"Bearer {token}"}).get(path)
    assert answer.status_code in {302, 404}
    assert b"Site administration" not in answer.content


def test_health_tells_the_holder_of_a_token_what_it_tells_anybody(token: str) -> None:
    client = Client(REMOTE_ADDR="203.0.113.7")
    for path in ("/livez", "/readyz", "/metrics"):
        plain = client.get(path)
        asked = client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert (asked.status_code, asked.content) == (plain.status_code, plain.content)
