"""Single things by their global ids, under the same permission as the list of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.schema.record import reader, record, refused, row, told
from tracking.models import RequestLog
from users.models import User

pytestmark = pytest.mark.django_db

NODE = "query Q($id: ID!) { node(id: $id) { __typename id ... on RequestLog { path asn } } }"
NODES = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }"


def global_id(pk: object, name: str = "RequestLog") -> str:
    return base64.b64encode(f"{name}:{pk}".encode()).decode()


@pytest.fixture
def client() -> Client:
    return reader()


def test_the_id_of_a_list_finds_the_same_row(client: Client) -> None:
    record(row(path="/a", asn=7))
    [listed] = told(client, "{ requestLogs { nodes { id } } }")["requestLogs"]["nodes"]
    found = told(client, NODE, id=listed["id"])["node"]
    assert found == {"__typename": "RequestLog", "id": listed["id"], "path": "/a", "asn": 7}


@pytest.mark.parametrize("query", [NODE, NODES])
def test_a_node_needs_the_permission_of_the_list(query: str) -> None:
    [saved] = record(row())
    variables: dict[str, Any] = {"id": global_id(saved.pk), "ids": [global_id(saved.pk)]}
    chosen = {"id": variables["id"]} if query == NODE else {"ids": variables["ids"]}
    assert refused(Client(), query, **chosen)[0] == "UNAUTHENTICATED"
    client = Client()
    client.force_login(User.objects.create_user("nobody"))
    assert refused(client, query, **chosen)[0] == "FORBIDDEN"


def test_the_refused_cannot_tell_which_ids_exist() -> None:
    [saved] = record(row())
    there, not_there = (refused(Client(), NODE, id=global_id(saved.pk + n)) for n in (0, 1))
    assert there == not_there


def test_what_is_gone_is_null(client: Client) -> None:
    assert told(client, NODE, id=global_id(2**63 - 1)) == {"node": None}


def test_nodes_come_in_the_order_of_their_ids_with_one_statement(client: Client) -> None:
    first, second = record(row(0), row(1))
    ids = [global_id(second.pk), global_id(10**9), global_id(first.pk), global_id(second.pk)]
    with CaptureQueriesContext(connection) as captured:
        found = told(client, NODES, ids=ids)["nodes"]
    assert [node and node["id"] for node in found] == [ids[0], None, ids[2], ids[3]]
    table = RequestLog._meta.db_table
    assert sum(table in query["sql"] for query in captured.captured_queries) == 1
    assert told(client, NODES, ids=[]) == {"nodes": []}


def test_too_many_ids_are_refused(client: Client) -> None:
    code, message = refused(client, NODES, ids=[global_id(1)] * 101)
    assert (code, "100" in message) == ("BAD_USER_INPUT", True)


@pytest.mark.parametrize(
    "id_",
    [
        "",
        "1",
        "RequestLog:1",
        "x" * 50_000,
        "é",
        "\x00",
        global_id(1, "Session"),
        global_id(1, "RequestLogEdge"),
        global_id(1, "__import__"),
        global_id(0),
        global_id(-1),
        global_id("01"),
        global_id(" 1"),
        global_id("1_0"),
        global_id("١"),
        global_id("1.0"),
        global_id("1:1"),
        global_id(""),
        global_id(2**63),
        global_id("9" * 5000),
        global_id(12).rstrip("="),
        global_id(1) + "\n",
        base64.b64encode(b"\xff\xfe:1").decode(),
    ],
    ids=lambda id_: id_[:30].encode("ascii", "backslashreplace").decode(),
)
def test_an_id_this_service_never_wrote_is_refused(client: Client, id_: str) -> None:
    record(row())
    assert refused(client, NODE, id=id_)[0] == "BAD_USER_INPUT"
    assert refused(client, NODES, ids=[id_])[0] == "BAD_USER_INPUT"


def test_anybody_may_know_what_runs_here(settings: Any) -> None:
    settings.TRACKING_LOG_RETENTION_DAYS = 0
    query = "{ serverInfo { name version retentionDays queryStringRecorded largestPage time } }"
    info = told(Client(), query)["serverInfo"]
    assert info.pop("time").endswith("Z")
    assert info.pop("version")
    assert info == {
        "name": "alx-backend-security",
        "retentionDays": None,
        "queryStringRecorded": False,
        "largestPage": 100,
    }
