"""Attempts to log in, as those who may see them do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.schema.record import NOON, reader, refused, told
from tracking.models import LoginAttempt
from users.models import User

pytestmark = pytest.mark.django_db

QUERY = """
query Q($f: LoginAttemptFilter, $first: Int, $after: String, $last: Int, $before: String) {
    loginAttempts(filter: $f, first: $first, after: $after, last: $last, before: $before) {
        nodes { id at address account outcome door }
        edges { cursor node { account } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@pytest.fixture
def client() -> Client:
    user = User.objects.create_user("analyst")
    user.user_permissions.add(Permission.objects.get(codename="view_loginattempt"))
    client = Client()
    client.force_login(user)
    LoginAttempt.objects.all().delete()
    return client


def attempt(second: int = 0, **columns: Any) -> LoginAttempt:
    facts = {"address": "192.0.2.1", "account": "ada", "outcome": "FAILED", "door": "/graphql/"}
    return LoginAttempt.objects.create(at=NOON + timedelta(seconds=second), **(facts | columns))


def accounts(client: Client, **variables: Any) -> list[str]:
    page = told(client, QUERY, **variables)["loginAttempts"]
    return [node["account"] for node in page["nodes"]]


def test_attempts_need_their_permission() -> None:
    attempt()
    assert refused(Client(), QUERY)[0] == "UNAUTHENTICATED"
    assert refused(reader(), QUERY)[0] == "FORBIDDEN"


def test_an_attempt_is_shown_whole_and_found_by_its_id(client: Client) -> None:
    attempt(address="2001:db8::1", account="a\\x00b", outcome="LIMITED", door="/admin/login/")
    (node,) = told(client, QUERY)["loginAttempts"]["nodes"]
    assert node.pop("at") == "2026-05-17T12:00:00.000000Z"
    id_ = node.pop("id")
    assert node == {
        "address": "2001:db8::1",
        "account": "a\\x00b",
        "outcome": "LIMITED",
        "door": "/admin/login/",
    }
    found = "query Q($id: ID!) { node(id: $id) { id ... on LoginAttempt { account } } }"
    assert told(client, found, id=id_)["node"] == {"id": id_, "account": "a\\x00b"}
    assert refused(Client(), found, id=id_)[0] == "UNAUTHENTICATED"
    other = Client()
    other.force_login(User.objects.create_user("nobody"))
    assert refused(other, found, id=id_)[0] == "FORBIDDEN"


def test_a_login_through_this_door_is_on_record(client: Client) -> None:
    User.objects.create_user("ada", password="correct horse battery staple")
    login = "mutation Q($i: LoginInput!) { login(input: $i) { errors { code } } }"
    for username, password in (("ADA", "x"), ("Ada", "correct horse battery staple"), ("\x00", "")):
        told(Client(REMOTE_ADDR="192.0.2.7"), login, i={"username": username, "password": password})
    nodes = told(client, QUERY)["loginAttempts"]["nodes"]
    assert [(n["account"], n["outcome"], n["address"], n["door"]) for n in nodes] == [
        ("\\x00", "FAILED", "192.0.2.7", "/graphql/"),
        ("ada", "SUCCEEDED", "192.0.2.7", "/graphql/"),
        ("ADA", "FAILED", "192.0.2.7", "/graphql/"),
    ]


def test_pages_lead_through_all_attempts_both_ways(client: Client) -> None:
    for second in (0, 0, 1, 2, 3):
        attempt(second, account=f"a{LoginAttempt.objects.count()}")
    page = told(client, QUERY, first=2)["loginAttempts"]
    assert [node["account"] for node in page["nodes"]] == ["a4", "a3"]
    assert page["pageInfo"]["hasNextPage"]
    assert not page["pageInfo"]["hasPreviousPage"]
    after = page["pageInfo"]["endCursor"]
    assert accounts(client, first=2, after=after) == ["a2", "a1"]
    assert accounts(client, after=after) == ["a2", "a1", "a0"]
    assert accounts(client, last=2) == ["a1", "a0"]
    assert accounts(client, last=5, before=after) == ["a4"]
    assert [edge["node"]["account"] for edge in page["edges"]] == ["a4", "a3"]


def test_the_filter_asks_for_account_address_outcome_and_time(client: Client) -> None:
    attempt(0, account="ada")
    attempt(1, account="ADA", outcome="SUCCEEDED")
    attempt(2, account="bob", address="2001:db8::1", outcome="LIMITED")

    def found(**f: object) -> list[str]:
        return accounts(client, f=f)

    assert found() == ["bob", "ADA", "ada"]
    assert found(account="ADA") == ["ADA", "ada"]
    assert found(account="ada") == ["ada"]
    assert found(address="2001:DB8:0::1") == ["bob"]
    assert found(outcome=["SUCCEEDED", "LIMITED"]) == ["bob", "ADA"]
    assert found(outcome=[]) == []
    assert found(at={"gte": "2026-05-17T12:00:01Z", "lt": "2026-05-17T12:00:02Z"}) == ["ADA"]
    assert found(account="ADA", outcome=["FAILED"]) == ["ada"]
    assert found(account=None, address=None, outcome=None, at=None) == ["bob", "ADA", "ada"]


@pytest.mark.parametrize(
    "f",
    [{"account": "\x00"}, {"account": "x" * 3000}, {"address": "192.0.2.1:80"}, {"outcome": ["x"]}],
    ids=ascii,
)
def test_a_filter_no_row_can_fit_is_refused(client: Client, f: dict[str, object]) -> None:
    assert refused(client, QUERY, f=f)[0] == "BAD_USER_INPUT"
