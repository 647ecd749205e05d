"""Requests above a limit are refused before the view, and every answer says what is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from tracking import drainer, limiter, refusal
from tracking.engine.verdict import Verdict, VerdictKind
from tracking.models import RequestLog
from users.models import User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.tracking.limited_site"),
]

QUESTION = {"data": {"query": "{ __typename }"}, "content_type": "application/json"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HEADERS = ("RateLimit", "RateLimit-Policy", "Retry-After")


@pytest.fixture(autouse=True)
def fresh(settings: Settings) -> Iterator[None]:
    """The table as it comes, nothing counted, and a clock that ends no window."""
    settings.TRACKING_LIMITS = {}
    limiter._memory.clear()
    with time_machine.travel(1_800_000_000, tick=False):
        yield
    limiter._memory.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="x")


def statuses(client: Client, number: int, path: str = "/api/plain/", **request: Any) -> list[int]:
    return [client.get(path, **request).status_code for _ in range(number)]


def newest() -> RequestLog:
    drainer.drain()
    return RequestLog.objects.latest("id")


def test_five_pass_and_the_sixth_is_refused_before_the_view(client: Client) -> None:
    assert statuses(client, 7) == [200] * 5 + [429] * 2


def test_the_same_holds_under_asgi() -> None:
    get = async_to_sync(AsyncClient().get)
    for path in ("/api/plain/", "/api/plain-async/"):
        limiter._memory.clear()
        assert [get(path).status_code for _ in range(7)] == [200] * 5 + [429] * 2


def test_graphql_and_the_api_share_one_bucket(client: Client) -> None:
    assert statuses(client, 3) == [200] * 3
    answers = [client.post("/graphql/", **QUESTION).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert statuses(client, 1) == [429]


def test_other_paths_are_not_counted(client: Client) -> None:
    assert statuses(client, 9, "/free/") == [200] * 9
    assert [client.get("/free/").get(header) for header in HEADERS] == [None] * 3
    assert statuses(client, 5) == [200] * 5


@pytest.mark.parametrize(
    "another",
    [
        {"REMOTE_ADDR": "127.0.0.1"},
        {"headers": {"user-agent": "another"}},
        {"headers": {"x-forwarded-for": "6.6.6.6"}},
        {"headers": {"HOST": "localhost"}},
        {"headers": {"cookie": "sessionid=made-up"}},
        {"headers": {"cookie": "xsessionid=made-up"}},
        {"headers": {"authorization": "Bearer made-up"}},
        {"QUERY_STRING": "fresh=1"},
        {"PATH_INFO": "/api/%70lain/"},
        {"PATH_INFO": "/graphql/"},
        {"PATH_INFO": "/api/"},
        {"PATH_INFO": "/api/\x00"},
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"REQUEST_METHOD": "post"},
        {"REQUEST_METHOD": "SPAM"},
    ],
    ids=repr,
)
def test_no_spelling_of_a_request_gives_a_new_bucket(
    client: Client, another: dict[str, Any]
) -> None:
    statuses(client, 5)
    assert client.get("/api/plain/", **another).status_code == 429


@pytest.mark.parametrize(
    "body",
    [
        {"query": "query Another { __typename }", "operationName": "Another"},
        {"query": "{__typename}   \n#"},
        {"query": "{ renamed: __typename }"},
        {"query": "not GraphQL"},
    ],
)
def test_no_spelling_of_a_document_gives_a_new_bucket(client: Client, body: dict[str, str]) -> None:
    statuses(client, 5)
    response = client.post("/graphql/", data=body, content_type="application/json")
    assert response.status_code == 429


def test_addresses_are_counted_apart_and_those_of_one_ipv6_network_together(client: Client) -> None:
    statuses(client, 5)
    assert statuses(client, 1, REMOTE_ADDR="198.51.100.7") == [200]
    rotating = [f"2001:db8::{number:x}" for number in range(1, 41)]
    answers = [client.get("/api/plain/", REMOTE_ADDR=each).status_code for each in rotating]
    assert answers == [200] * 5 + [429] * 35


@pytest.mark.parametrize("mapped", ["::ffff:198.51.100.7", "::ffff:c633:6407"])
def test_a_mapped_address_is_the_ipv4_address(client: Client, mapped: str) -> None:
    statuses(client, 5, REMOTE_ADDR=mapped)
    assert statuses(client, 1, REMOTE_ADDR="198.51.100.7") == [429]
    assert statuses(client, 1, REMOTE_ADDR="::ffff:198.51.100.8") == [200]


def test_users_have_a_limit_of_their_own_wherever_they_come_from(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert statuses(client, 6) == [200] * 6
    assert statuses(client, 5, REMOTE_ADDR="198.51.100.7") == [200] * 4 + [429]
    assert statuses(Client(), 1) == [200]


def test_staff_may_ask_often(client: Client) -> None:
    client.force_login(User.objects.create_user("operator", is_staff=True))
    assert client.get("/api/plain/")["RateLimit-Policy"] == '"graphql";q=600;w=60'


def test_a_user_is_known_under_asgi_too(ada: User) -> None:
    client = AsyncClient()
    client.force_login(ada)
    response = async_to_sync(client.get)("/api/plain-async/")
    assert response["RateLimit-Policy"] == '"graphql";q=10;w=60'


def test_answers_say_how_much_is_left_and_refusals_when_to_come_back(client: Client) -> None:
    first, *_, last = [client.get("/api/plain/") for _ in range(6)]
    assert first["RateLimit-Policy"] == last["RateLimit-Policy"] == '"graphql";q=5;w=60'
    remaining, wait = re.fullmatch(r'"graphql";r=(\d);t=(\d+)', first["RateLimit"]).groups()  # type: ignore[union-attr]
    assert (remaining, 1 <= int(wait) <= 60) == ("4", True)
    assert last["RateLimit"] == f'"graphql";r=0;t={wait}'
    assert last["Retry-After"] == wait
    assert "Retry-After" not in first
    assert last["Cache-Control"] == "no-store"
    assert "Accept" in last["Vary"]


def test_whoever_waits_as_told_may_ask_again(client: Client) -> None:
    refused = [client.get("/api/plain/") for _ in range(6)][-1]
    wait = int(refused["Retry-After"])
    with time_machine.travel(1_800_000_000 + wait - 1, tick=False):
        assert statuses(client, 1) == [429]
    with time_machine.travel(1_800_000_000 + wait, tick=False):
        assert statuses(client, 1) == [200]


def test_each_rate_of_a_limit_is_a_policy_of_its_own(client: Client, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": {"anonymous": "2/m,3/h"}}
    response = client.get("/api/plain/")
    assert response["RateLimit-Policy"] == '"graphql-m";q=2;w=60, "graphql-h";q=3;w=3600'
    assert response["RateLimit"].startswith('"graphql-m";r=1;t=')
    assert ', "graphql-h";r=2;t=' in response["RateLimit"]
    client.get("/api/plain/")
    assert client.get("/api/plain/").json()["violated-policies"] == ["graphql-m"]


def test_a_limit_that_is_off_counts_nothing(client: Client, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    assert statuses(client, 20) == [200] * 20
    assert [client.get("/api/plain/").get(header) for header in HEADERS] == [None] * 3


def test_a_limit_may_count_some_methods_alone(client: Client, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {
        "graphql": "off",
        "pages": {"all": "1/m", "paths": ["/free/"], "methods": ["GET"]},
    }
    assert [client.post("/free/").status_code for _ in range(3)] == [200] * 3
    assert statuses(client, 1, "/free/") == [200]
    assert [client.head("/free/").status_code, *statuses(client, 1, "/free/")] == [429, 429]


def test_every_limit_of_a_path_must_have_something_left(client: Client, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {
        "graphql": "2/m",
        "plain": {"all": "3/m", "paths": ["/api/plain/"]},
        "tried": {"all": "1/m", "paths": ["/api/"], "observed": True},
    }
    answers = [client.get("/api/plain/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[1]["RateLimit-Policy"] == '"graphql";q=2;w=60, "plain";q=3;w=60'
    assert answers[2]["RateLimit-Policy"] == '"graphql";q=2;w=60'  # what refuses comes first
    assert newest().limit == "graphql"


def test_an_observed_limit_counts_and_records_and_refuses_nothing(
    client: Client, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": {"observed": True}}
    assert statuses(client, 6) == [200] * 6
    row = newest()
    assert (row.verdict, row.limit, row.status) == ("OBSERVED", "graphql", 200)
    assert client.get("/api/plain/").get("RateLimit") is None


def test_a_refusal_is_on_record_with_the_name_of_its_limit(client: Client) -> None:
    statuses(client, 6)
    row = newest()
    assert (row.verdict, row.limit, row.status) == ("LIMITED", "graphql", 429)
    assert RequestLog.objects.filter(verdict="ALLOWED", limit="", status=200).count() == 5


# -- What is not counted


def test_opening_graphiql_is_not_counted_and_asking_is(client: Client, settings: Settings) -> None:
    settings.GRAPHIQL = True
    page = {"headers": {"accept": BROWSER}}
    assert statuses(client, 9, "/graphql/", **page) == [200] * 9
    assert client.post("/graphql/", **QUESTION)["RateLimit"].startswith('"graphql";r=4')


@pytest.mark.parametrize(
    "request_of",
    [
        {"QUERY_STRING": "query={__typename}"},
        {"QUERY_STRING": "extensions={}"},
        {"headers": {"accept": "*/*"}},
        {"headers": {"accept": "application/json, text/html"}},
        {"CONTENT_LENGTH": "27"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"PATH_INFO": "/api/plain/"},
    ],
    ids=repr,
)
def test_what_may_be_a_question_counts_even_when_a_page_is_wanted(
    client: Client, request_of: dict[str, Any]
) -> None:
    request = {"headers": {"accept": BROWSER}, **request_of}
    assert client.get("/graphql/", **request)["RateLimit"].startswith('"graphql";r=4')


def test_static_files_and_preflights_are_not_counted(client: Client) -> None:
    preflight = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    assert {client.options("/graphql/", headers=preflight).status_code for _ in range(9)} == {200}
    assert {client.get("/static/none.css").status_code for _ in range(9)} == {404}
    assert statuses(client, 5) == [200] * 5


# -- Bodies


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/graphql-response+json", "application/graphql-response+json"),
        (
            "application/graphql-response+json, application/json;q=0.9",
            "application/graphql-response+json",
        ),
        ("text/html", "application/json"),
        ("nonsense", "application/json"),
    ],
)
def test_on_the_graphql_path_a_refusal_is_graphql(
    client: Client, accept: str | None, media_type: str
) -> None:
    statuses(client, 5)
    headers = {"accept": accept} if accept else {}
    response = client.post("/graphql/", **QUESTION, headers=headers)
    assert response.status_code == 429
    assert response["Content-Type"] == f"{media_type}; charset=utf-8"
    wait = int(response["Retry-After"])
    assert json.loads(response.content) == {
        "errors": [
            {
                "message": f"Too many requests. Try again in {wait} seconds.",
                "extensions": {"code": "RATE_LIMITED", "retryAfter": wait, "limit": "graphql"},
            }
        ]
    }


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/problem+json"])
def test_programs_get_a_problem(client: Client, accept: str | None) -> None:
    statuses(client, 5)
    response = client.get("/api/plain/", headers={"accept": accept} if accept else {})
    assert response["Content-Type"] == "application/problem+json; charset=utf-8"
    wait = int(response["Retry-After"])
    assert json.loads(response.content) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": f"Too many requests. Try again in {wait} seconds.",
        "retryAfter": wait,
        "violated-policies": ["graphql"],
    }


@pytest.mark.parametrize("templates", ["as the service has them", "without applications", "none"])
def test_browsers_get_a_page_that_needs_nothing_else(
    client: Client, settings: Settings, templates: str
) -> None:
    if templates == "without applications":
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False}]
    if templates == "none":
        settings.TEMPLATES = []
    statuses(client, 5)
    response = client.get("/api/plain/", headers={"accept": BROWSER})
    html = response.content.decode()
    assert (response.status_code, response["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert f"Try again in {response['Retry-After']} seconds." in html
    assert not re.search(r"src=|href=|url\(|<script", html)


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_no_accept_header_breaks_a_refusal(accept: str) -> None:
    verdict = Verdict(VerdictKind.LIMITED, "graphql", 1)
    for path in ("/", "/graphql/"):
        request = RequestFactory().get(path, HTTP_ACCEPT=accept)
        assert refusal.answer(request, verdict).status_code == 429


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (120, "120 seconds"), (121, "3 minutes"), (900, "15 minutes")],
)
def test_people_are_told_to_wait_in_their_words(seconds: int, words: str) -> None:
    request = RequestFactory().get("/", headers={"accept": "text/html"})
    response = refusal.answer(request, Verdict(VerdictKind.LIMITED, "graphql", seconds))
    assert f"Try again in {words}." in response.content.decode()


# -- What it costs, and what may be cached


def test_anonymous_requests_ask_the_database_nothing(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        answers = [client.get("/api/plain/") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert not any("Cookie" in answer.get("Vary", "") for answer in answers)


def get_both(path: str, user: User | None) -> Iterator[HttpResponse]:
    """Yield the answer of WSGI and the answer of ASGI."""
    for client in (Client(), AsyncClient()):
        if user is not None:
            client.force_login(user)
        get = client.get if isinstance(client, Client) else async_to_sync(client.get)
        yield get(path)


@pytest.mark.parametrize("path", ["/api/plain/", "/api/plain-async/"])
def test_a_view_that_looks_at_nobody_may_be_cached_for_all(path: str, ada: User) -> None:
    for response in get_both(path, ada):
        assert response["RateLimit-Policy"] == '"graphql";q=10;w=60'
        assert "Cookie" not in response.get("Vary", "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/api/me/", "ada"),
        ("/api/me-async/", "ada"),
        ("/api/me-lazily-async/", "True"),
        ("/api/mine/", "ada"),
        ("/api/remember/", "1"),
        ("/api/enter/", "bob"),
        ("/api/leave/", "AnonymousUser"),
    ],
)
def test_a_view_that_looks_at_its_user_varies_with_the_cookie(
    path: str, text: str, ada: User
) -> None:
    User.objects.create_user("bob")
    for response in get_both(path, ada):
        assert response["RateLimit-Policy"] == '"graphql";q=10;w=60'
        assert response.content.decode() == text
        assert "Cookie" in response["Vary"]


@pytest.mark.parametrize("path", ["/api/me/", "/api/me-async/"])
def test_a_view_that_looks_for_a_user_varies_without_one_too(path: str) -> None:
    for response in get_both(path, None):
        assert response.content == b"AnonymousUser"
        assert "Cookie" in response["Vary"]


def test_what_a_view_writes_into_the_session_is_kept(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert [client.get("/api/remember/").content for _ in range(2)] == [b"1", b"2"]
    client.get("/api/leave/")
    assert client.get("/api/me/").content == b"AnonymousUser"


def test_a_session_of_nobody_is_anonymous_and_stays_usable(client: Client) -> None:
    assert [client.get("/api/remember/").content for _ in range(2)] == [b"1", b"2"]
    assert client.get("/api/plain/")["RateLimit-Policy"] == '"graphql";q=5;w=60'


def test_the_user_is_loaded_once(client: Client, ada: User) -> None:
    client.force_login(ada)
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/me/")
    assert len(queries) == 2  # the session and the user, which the view needs anyway


# -- All at once


@pytest.mark.parametrize("allowed", [1, 5, 100])
def test_of_many_at_once_exactly_as_many_pass_as_may(settings: Settings, allowed: int) -> None:
    settings.TRACKING_LIMITS = {"graphql": f"{allowed}/h"}
    handler = WSGIHandler()
    threads = 200
    together = Barrier(threads)

    def ask(_: int) -> int:
        environ = RequestFactory()._base_environ(PATH_INFO="/api/plain/")
        told: list[str] = []
        together.wait()
        handler(environ, lambda status, headers: told.append(status))
        return int(told[0][:3])

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(ask, range(threads)))
    assert sorted(answers) == [200] * allowed + [429] * (threads - allowed)
