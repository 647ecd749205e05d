"""What is left of the limits, as the caller sees it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tests.schema.record import ask, reader, record, row, told
from tracking import conf, limiter
from tracking.engine.address import parse_address
from tracking.engine.limits import ClientClass, key_of_address, key_of_user
from users.models import User

QUERY = "{rateLimit {name policy limit remaining resetAt}}"
# Not the limit of the endpoint itself, which the requests of these tests would use up.
TABLE = {
    "graphql": "off",
    "login_address": "off",
    "signup": "off",
    "guesses": {"anonymous": "5/m,50/h", "authenticated": "10/m", "staff": "600/m"},
}


@pytest.fixture(autouse=True)
def table(settings: Settings) -> Iterator[None]:
    settings.TRACKING_LIMITS = TABLE
    limiter._counters().clear()
    yield
    limiter._counters().clear()


def use(client: ClientClass, key: str, times: int) -> None:
    for _ in range(times):
        limiter.check(conf.current().limits["guesses"], client, key)


def test_anybody_may_ask_and_every_rate_has_its_line() -> None:
    now = timezone.now()
    states = told(Client(), QUERY)["rateLimit"]
    assert [(s["name"], s["policy"], s["limit"], s["remaining"]) for s in states] == [
        ("guesses", "5/m", 5, 5),
        ("guesses", "50/h", 50, 50),
    ]
    for state, longest in zip(states, (60, 3600), strict=True):
        wait = datetime.fromisoformat(state["resetAt"]) - now
        assert timedelta(0) < wait <= timedelta(seconds=longest + 1)


def test_asking_uses_nothing_up() -> None:
    for _ in range(10):
        states = told(Client(), QUERY)["rateLimit"]
    assert [state["remaining"] for state in states] == [5, 50]


def test_what_was_used_is_missing_and_never_less_than_nothing() -> None:
    key = key_of_address(parse_address("127.0.0.1"), 64)
    use(ClientClass.ANONYMOUS, key, 2)
    assert [s["remaining"] for s in told(Client(), QUERY)["rateLimit"]] == [3, 48]
    use(ClientClass.ANONYMOUS, key, 10)
    assert [s["remaining"] for s in told(Client(), QUERY)["rateLimit"]] == [0, 38]


@pytest.mark.django_db
@pytest.mark.parametrize(("is_staff", "policy", "left"), [(False, "10/m", 7), (True, "600/m", 597)])
def test_a_user_sees_his_own_whatever_his_address(is_staff: bool, policy: str, left: int) -> None:
    user = User.objects.create_user("ada", is_staff=is_staff)
    client = Client(REMOTE_ADDR="192.0.2.77")
    client.force_login(user)
    use(
        ClientClass.STAFF if is_staff else ClientClass.AUTHENTICATED,
        key_of_user(str(user.pk)),
        3,
    )
    (state,) = told(client, QUERY)["rateLimit"]
    assert (state["policy"], state["remaining"]) == (policy, left)


def test_asking_costs_a_stranger_no_sql(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    told(Client(), QUERY)
    with django_assert_num_queries(0):
        told(Client(), QUERY)


def test_limits_that_are_off_or_by_account_have_no_line(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "login_address": "off", "signup": "off"}
    assert told(Client(), QUERY)["rateLimit"] == []


def test_the_request_itself_is_counted_once_where_the_endpoint_is_limited(
    settings: Settings,
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "100/m", "login_address": "off", "signup": "off"}
    left = [told(Client(), QUERY)["rateLimit"][0]["remaining"] for _ in range(3)]
    assert left == [99, 98, 97]


@pytest.mark.django_db
def test_the_record_names_the_limit_that_decided() -> None:
    record(row(1, verdict="LIMITED", limit="guesses"), row(0))
    nodes = told(reader(), "{requestLogs {nodes {verdict limit tags source}}}")["requestLogs"]
    assert nodes["nodes"] == [
        {"verdict": "LIMITED", "limit": "guesses", "tags": [], "source": "live"},
        {"verdict": "ALLOWED", "limit": None, "tags": [], "source": "live"},
    ]


def test_no_more_than_five_mutations_fit_in_one_document() -> None:
    calls = '{n}: resetRateLimit(input: {{limit: "x"}}) {{errors {{code}}}}'
    answer = ask(Client(), "mutation {" + " ".join(calls.format(n=f"a{n}") for n in range(6)) + "}")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_COSTLY"
    assert "5 mutations" in error["message"]
