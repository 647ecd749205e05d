"""The audit log: complete, paged, and for those who may see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.schema.record import NOON, reader, refused, told
from tracking.models import AuditEntry
from users.models import User

pytestmark = pytest.mark.django_db

QUERY = """query Q($f: AuditEntryFilter, $first: Int, $after: String, $last: Int) {
    auditLog(filter: $f, first: $first, after: $after, last: $last) {
        nodes { id at actor address action target reason before after }
        pageInfo { hasNextPage endCursor } } }"""


@pytest.fixture
def client() -> Client:
    user = User.objects.create_user("auditor")
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    client = Client()
    client.force_login(user)
    return client


def entry(second: int = 0, **columns: Any) -> AuditEntry:
    facts = {"actor": "root", "action": "reset_limit", "target": "graphql address:192.0.2.1"}
    return AuditEntry.objects.create(at=NOON + timedelta(seconds=second), **(facts | columns))


def test_the_log_needs_its_permission() -> None:
    entry()
    assert refused(Client(), QUERY)[0] == "UNAUTHENTICATED"
    assert refused(reader(), QUERY)[0] == "FORBIDDEN"


def test_an_entry_is_shown_whole_and_found_by_its_id(client: Client) -> None:
    entry(address="2001:db8::1", reason="why", before={"a": [1, None]}, after={"a": "é"})
    (node,) = told(client, QUERY)["auditLog"]["nodes"]
    id_ = node.pop("id")
    assert node == {
        "at": "2026-05-17T12:00:00.000000Z",
        "actor": "root",
        "address": "2001:db8::1",
        "action": "reset_limit",
        "target": "graphql address:192.0.2.1",
        "reason": "why",
        "before": {"a": [1, None]},
        "after": {"a": "é"},
    }
    found = "query Q($id: ID!) { node(id: $id) { id ... on AuditEntry { actor } } }"
    assert told(client, found, id=id_)["node"] == {"id": id_, "actor": "root"}
    assert refused(Client(), found, id=id_)[0] == "UNAUTHENTICATED"
    other = Client()
    other.force_login(User.objects.create_user("nobody"))
    assert refused(other, found, id=id_)[0] == "FORBIDDEN"


def test_what_is_done_to_an_account_is_on_record_with_address_and_without_secrets(
    client: Client,
) -> None:
    password = "correct horse battery staple"
    browser = Client(REMOTE_ADDR="192.0.2.7")
    signup = "mutation Q($i: SignupInput!) { signup(input: $i) { user { id } } }"
    login = "mutation Q($i: LoginInput!) { login(input: $i) { accessToken } }"
    i = {"username": "ada", "password": password}
    told(browser, signup, i=i | {"email": "ada@example.org"})
    token = told(browser, login, i=i)["login"]["accessToken"]
    browser.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    told(browser, "mutation { logout { sessionsEnded } }")
    nodes = told(client, QUERY)["auditLog"]["nodes"]
    assert [(n["actor"], n["action"], n["target"], n["address"]) for n in nodes] == [
        ("ada", "session_logged_out", "user ada", "192.0.2.7"),
        ("ada", "signed_up", "user ada", "192.0.2.7"),
    ]
    assert password not in str(nodes)
    assert "ada@example.org" not in str(nodes)


def test_pages_lead_through_the_whole_log(client: Client) -> None:
    for second in (0, 1, 1, 2):
        entry(second, target=f"t{AuditEntry.objects.count()}")
    page = told(client, QUERY, first=3)["auditLog"]
    assert [node["target"] for node in page["nodes"]] == ["t3", "t2", "t1"]
    assert page["pageInfo"]["hasNextPage"]
    rest = told(client, QUERY, first=3, after=page["pageInfo"]["endCursor"])["auditLog"]
    assert [node["target"] for node in rest["nodes"]] == ["t0"]
    assert not rest["pageInfo"]["hasNextPage"]


def test_the_filter_asks_for_actor_action_target_and_time(client: Client) -> None:
    entry(0, target="a")
    entry(1, target="b", actor="ada")
    entry(2, target="c", action="deactivated")

    def found(**f: object) -> list[str]:
        return [node["target"] for node in told(client, QUERY, f=f)["auditLog"]["nodes"]]

    assert found() == found(actor=None, action=None) == ["c", "b", "a"]
    assert found(actor="ada") == ["b"]
    assert found(action=["deactivated", "else"]) == ["c"]
    assert found(action=[]) == []
    assert found(target="a") == ["a"]
    assert found(at={"gte": "2026-05-17T12:00:01Z", "lt": "2026-05-17T12:00:02Z"}) == ["b"]
    for f in ({"actor": "\x00"}, {"target": "x" * 3000}, {"action": ["\x00"]}):
        assert refused(client, QUERY, f=f)[0] == "BAD_USER_INPUT"
