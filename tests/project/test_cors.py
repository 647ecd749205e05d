"""Front ends of other origins ask with a bearer token, and can read what they are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client
from pytest_django import Settings

from tracking import blocklist, limiter, policy
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.rules import Rule, RuleAction
from tracking.engine.targets import target_of_network
from tracking.proposals import Proposal
from users.models import User

pytestmark = pytest.mark.django_db

ORIGIN = "https://app.example.org"
QUESTION = {"data": {"query": "{ __typename }"}, "content_type": "application/json"}


@pytest.fixture(autouse=True)
def one_front_end(settings: Settings) -> Iterator[None]:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    yield
    limiter._memory.clear()


def preflight(origin: str = ORIGIN, path: str = "/graphql/", method: str = "POST") -> HttpResponse:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
    }
    return Client().options(path, headers=headers)


def listed(response: HttpResponse, header: str) -> set[str]:
    return {word.strip().lower() for word in response.get(header, "").split(",") if word.strip()}


def test_a_listed_origin_may_ask_with_a_token_and_never_with_cookies() -> None:
    response = preflight()
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert {"authorization", "content-type"} <= listed(response, "Access-Control-Allow-Headers")
    assert listed(response, "Access-Control-Allow-Methods") == {"get", "post"}
    assert "Access-Control-Allow-Credentials" not in response
    assert "origin" in listed(response, "Vary")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "null",
        "",
        "https://[",
        "*",
    ],
)
def test_no_other_origin_may(origin: str) -> None:
    answers = [
        preflight(origin),
        Client().post("/graphql/", **QUESTION, headers={"origin": origin}),
    ]
    for response in answers:
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_answers_can_be_read_with_what_they_say_of_limits(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    headers = {"origin": ORIGIN}
    answers = [Client().post("/graphql/", **QUESTION, headers=headers) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    for answer in answers:
        exposed = listed(answer, "Access-Control-Expose-Headers")
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert exposed == {"retry-after", "ratelimit", "ratelimit-policy", "x-request-id"}
        assert {"RateLimit", "RateLimit-Policy", "X-Request-ID"} <= set(answer.headers)
    assert "Retry-After" in answers[-1].headers
    assert {"origin", "accept"} <= listed(answers[-1], "Vary")


def test_a_session_of_another_origin_proves_nothing() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada", is_staff=True))
    response = client.post("/graphql/", **QUESTION, headers={"origin": ORIGIN})
    assert response.status_code == 403
    assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize("path", ["/admin/login/", "/livez", "/static/none.css"])
def test_only_the_api_can_be_read_from_elsewhere(path: str) -> None:
    for response in (preflight(path=path), Client().get(path, headers={"origin": ORIGIN})):
        assert "Access-Control-Allow-Origin" not in response


def test_without_front_ends_nobody_elsewhere_reads_anything(settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = []
    assert "Access-Control-Allow-Origin" not in preflight()


def test_preflights_are_on_record_and_never_limited(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {}
    answers = [preflight() for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert all("X-Request-ID" in answer.headers for answer in answers)


@pytest.fixture
def blocked() -> Client:
    about = target_of_network(parse_network("203.0.113.7"))
    blocklist.block(COMMAND_LINE, Proposal(target=about, action=RuleAction.BLOCK))
    policy.refresh()
    return Client(REMOTE_ADDR="203.0.113.7")


@pytest.mark.parametrize("path", ["/graphql/", "/api/auth/login/", "/api/nothing/"])
def test_a_front_end_can_read_that_its_user_is_blocked(blocked: Client, path: str) -> None:
    answer = blocked.post(path, **QUESTION, headers={"origin": ORIGIN})
    assert answer.status_code == 403
    assert "IP_BLOCKED" in answer.content.decode()
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert "x-request-id" in listed(answer, "Access-Control-Expose-Headers")
    assert {"origin", "accept"} <= listed(answer, "Vary")
    assert "Access-Control-Allow-Credentials" not in answer


def test_a_blocked_preflight_stays_refused(blocked: Client) -> None:
    answer = blocked.options(
        "/graphql/", headers={"origin": ORIGIN, "access-control-request-method": "POST"}
    )
    assert answer.status_code == 403
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize(
    ("path", "origin"),
    [("/graphql/", "https://evil.example"), ("/graphql/", "https://["), ("/admin/", ORIGIN)],
)
def test_no_other_origin_and_no_other_page_reads_a_refusal(
    blocked: Client, path: str, origin: str
) -> None:
    answer = blocked.post(path, **QUESTION, headers={"origin": origin})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_refusals_to_an_event_loop_carry_the_headers_too() -> None:
    policy._rules.put("ADDRESS", "127.0.0.1", Rule(1, RuleAction.BLOCK))
    answer = async_to_sync(AsyncClient().post)("/graphql/", **QUESTION, headers={"origin": ORIGIN})
    assert answer.status_code == 403
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
