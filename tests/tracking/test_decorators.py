"""`@limited` puts a limit on any view."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import time_machine
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from pytest_django import Settings

from tests.tracking import limited_site
from tracking import drainer, limiter
from tracking.models import RequestLog
from users.models import User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.tracking.limited_site"),
]

PATHS = [
    "/report/1/",
    "/report/async/",
    "/report/class/",
    "/report/class-async/",
    "/report/handler-async/",
    "/report/wrapped-async/",
]


@pytest.fixture(autouse=True)
def fresh(settings: Settings) -> Iterator[None]:
    settings.TRACKING_LIMITS = {"reports": {"anonymous": "2/m", "authenticated": "3/m"}}
    limiter._memory.clear()
    with time_machine.travel(1_800_000_000, tick=False):
        yield
    limiter._memory.clear()


def ask(kind: str, path: str, times: int, user: User | None = None) -> list[HttpResponse]:
    client = Client() if kind == "WSGI" else AsyncClient()
    if user is not None:
        client.force_login(user)
    get = client.get if isinstance(client, Client) else async_to_sync(client.get)
    return [get(path) for _ in range(times)]


@pytest.mark.parametrize("kind", ["WSGI", "ASGI"])
@pytest.mark.parametrize("path", PATHS)
def test_every_kind_of_view_is_limited_under_every_kind_of_server(kind: str, path: str) -> None:
    times = 2 if path != "/report/wrapped-async/" else 1  # the handler inside counts as well
    answers = ask(kind, path, times + 1)
    assert [answer.status_code for answer in answers] == [200] * times + [429]
    assert answers[-1]["Content-Type"] == "application/problem+json; charset=utf-8"
    assert answers[-1]["Retry-After"]
    assert all(answer["RateLimit-Policy"] == '"reports";q=2;w=60' for answer in answers)


@pytest.mark.parametrize("kind", ["WSGI", "ASGI"])
@pytest.mark.parametrize("path", PATHS[:-1])
def test_users_are_known_to_it(kind: str, path: str) -> None:
    answers = ask(kind, path, 4, User.objects.create_user("ada"))
    assert [answer.status_code for answer in answers] == [200] * 3 + [429]


def test_views_with_one_name_share_one_bucket() -> None:
    assert [ask("WSGI", path, 1)[0].status_code for path in PATHS[:3]] == [200, 200, 429]


@pytest.mark.parametrize("without", ["LimitMiddleware", "VisitMiddleware", "both"])
def test_it_needs_no_middleware(settings: Settings, without: str) -> None:
    left = [name for name in settings.MIDDLEWARE if not name.endswith(without)]
    if without == "both":
        left = [name for name in left if not name.startswith("tracking.")]
    settings.MIDDLEWARE = left
    for path in PATHS[:2]:
        limiter._memory.clear()
        assert [answer.status_code for answer in ask("WSGI", path, 3)] == [200, 200, 429]


def test_a_refusal_is_on_record_with_the_name_of_the_limit() -> None:
    ask("WSGI", "/report/7/", 3)
    drainer.drain()
    row = RequestLog.objects.latest("id")
    assert (row.verdict, row.limit, row.path, row.status) == (
        "LIMITED",
        "reports",
        "/report/7/",
        429,
    )


def test_a_view_stays_what_it_was() -> None:
    assert limited_site.report.__name__ == "report"
    assert limited_site.report.__doc__ == "What is reported."
    assert limited_site.report(RequestFactory().get("/"), number=3).content == b"3"
    assert not iscoroutinefunction(limited_site.report)
    assert iscoroutinefunction(limited_site.report_async)


def test_csrf_exempt_outside_still_holds() -> None:
    assert Client(enforce_csrf_checks=True).post("/report/1/").status_code == 200


def test_a_name_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Client().get("/unknown/")


def test_only_the_first_of_two_limits_that_is_exceeded_counts(settings: Settings) -> None:
    settings.TRACKING_LIMITS["all"] = {"all": "1/m", "paths": ["/report/"]}
    answers = ask("WSGI", "/report/1/", 3)
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    policies = '"all";q=1;w=60, "reports";q=2;w=60'
    assert answers[0]["RateLimit-Policy"] == policies
    assert answers[1]["RateLimit-Policy"] == '"all";q=1;w=60'
