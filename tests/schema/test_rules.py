"""The book of rules, as those who may see it do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.schema.book import client_with, rule
from tests.schema.record import ask, record, refused, row, told
from tracking import blocklist
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import RuleAction
from tracking.models import AccessRule

pytestmark = pytest.mark.django_db

QUERY = """query Q($f: AccessRuleFilter, $first: Int, $after: String, $last: Int, $before: String) {
    accessRules(filter: $f, first: $first, after: $after, last: $last, before: $before) {
        nodes { target } edges { cursor node { target } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
BLOCKED = "query Q($f: AccessRuleFilter) { blockedIps(filter: $f) { nodes { target } } }"
ALLOW = RuleAction.ALLOW


def viewer() -> Client:
    return client_with("view_requestlog", "view_accessrule")


def targets(query: str = QUERY, **asked: Any) -> set[str]:
    (page,) = told(viewer(), query, f=asked).values()
    return {node["target"] for node in page["nodes"]}


def lifted(text: str) -> AccessRule:
    made = rule(text)
    blocklist.lift_rules(COMMAND_LINE, [made.pk])
    return made


@pytest.mark.parametrize("query", [QUERY, BLOCKED])
def test_the_book_needs_its_permission(query: str) -> None:
    assert refused(Client(), query)[0] == "UNAUTHENTICATED"
    assert refused(client_with("view_requestlog"), query)[0] == "FORBIDDEN"


def test_a_rule_is_shown_whole_and_found_by_its_id() -> None:
    until = timezone.now() + timedelta(hours=1)
    made = rule("2001:db8::/48", reason="é", path="/a/", methods=("POST",), expires_at=until)
    AccessRule.objects.update(hits=2**40, last_hit_at=made.created_at)
    fields = """id target kind action observed path methods reason origin createdBy createdAt
        expiresAt endedAt active hits lastHitAt"""
    (node,) = told(viewer(), f"{{ accessRules {{ nodes {{ {fields} }} }} }}")["accessRules"][
        "nodes"
    ]
    written = made.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    id_ = node["id"]
    assert node == {
        "id": id_,
        "target": "2001:db8::/48",
        "kind": "NETWORK",
        "action": "BLOCK",
        "observed": False,
        "path": "/a/",
        "methods": ["POST"],
        "reason": "é",
        "origin": "MANUAL",
        "createdBy": "command line",
        "createdAt": written,
        "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "endedAt": None,
        "active": True,
        "hits": 2**31 - 1,
        "lastHitAt": written,
    }
    found = "query Q($id: ID!) { node(id: $id) { id ... on AccessRule { target } } }"
    assert told(viewer(), found, id=id_)["node"] == {"id": id_, "target": "2001:db8::/48"}
    assert refused(client_with("view_requestlog"), found, id=id_)[0] == "FORBIDDEN"


def test_each_filter_matches_what_it_says() -> None:
    rule("198.51.100.7", reason="Scanner 100%")
    AccessRule.objects.update(expires_at=timezone.now())
    lifted("198.51.100.8")
    rule("198.51.100.0/24", observed=True)
    rule("198.51.0.0/16", ALLOW, origin=AccessRule.Origin.IMPORT)
    rule("DE")
    rule("AS64496")
    assert targets(target="DE") == {"DE"}
    assert targets(address="198.51.100.7") == {"198.51.100.7", "198.51.100.0/24", "198.51.0.0/16"}
    assert targets(address="::ffff:198.51.1.1") == {"198.51.0.0/16"}
    assert targets(network="198.51.100.0/24") == {
        "198.51.100.7",
        "198.51.100.8",
        "198.51.100.0/24",
    }
    assert targets(kind=["COUNTRY", "ASN"]) == {"DE", "AS64496"}
    assert targets(kind=[]) == set()
    assert targets(action=["ALLOW"]) == {"198.51.0.0/16"}
    assert targets(origin=["IMPORT"]) == {"198.51.0.0/16"}
    assert targets(active=False) == {"198.51.100.7", "198.51.100.8"}
    assert targets(active=True, kind=["COUNTRY"]) == {"DE"}
    assert targets(observed=True) == {"198.51.100.0/24"}
    assert targets(createdBy="nobody") == set()
    assert len(targets(createdBy="command line")) == 6
    assert targets(reason="anner 100%") == {"198.51.100.7"}
    assert targets(reason="scanner") == set()
    assert targets(active=None, kind=None, reason="", address=None) == targets()


def test_blocked_are_live_blocks_on_addresses_and_networks() -> None:
    rule("198.51.100.7")
    lifted("198.51.100.8")
    rule("198.51.0.0/16")
    rule("203.0.113.0/24", ALLOW)
    rule("DE")
    assert targets(BLOCKED) == {"198.51.100.7", "198.51.0.0/16"}
    assert targets(BLOCKED, kind=["NETWORK"]) == {"198.51.0.0/16"}
    assert targets(BLOCKED, active=False) == set()


@pytest.mark.parametrize("text", ["a" * 5000, "\x00", "%", "'; DROP TABLE", "\u202e"])
@pytest.mark.parametrize("field", ["target", "createdBy", "reason"])
def test_hostile_text_finds_nothing_or_is_refused(field: str, text: str) -> None:
    rule("198.51.100.7")
    if len(text) > 2048 or "\x00" in text:
        assert refused(viewer(), QUERY, f={field: text})[0] == "BAD_USER_INPUT"
    else:
        assert targets(**{field: text}) == set()


@pytest.mark.parametrize("address", ["1" * 5000, "198.51.100.0/24", "host", "198.51.100.7/24"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert refused(viewer(), QUERY, f={"address": address})[0] == "BAD_USER_INPUT"
    if address != "198.51.100.0/24":
        assert refused(viewer(), QUERY, f={"network": address})[0] == "BAD_USER_INPUT"


def test_pages_lead_through_the_book_both_ways() -> None:
    made = [f"198.51.100.{n}" for n in range(5)]
    for text in made:
        rule(text)
    seen, after = [], None
    while True:
        page = told(viewer(), QUERY, first=2, after=after)["accessRules"]
        seen += [node["target"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == made[::-1]
    page = told(viewer(), QUERY, last=2)["accessRules"]
    assert [node["target"] for node in page["nodes"]] == made[1::-1]
    assert refused(viewer(), QUERY, first=101)[0] == "BAD_USER_INPUT"
    assert refused(viewer(), QUERY, after="x")[0] == "BAD_USER_INPUT"


LOGS = "{ requestLogs { nodes { path rule { target action } } } }"


def test_a_recorded_request_names_the_rule_that_decided() -> None:
    made = rule("198.51.100.7")
    record(row(0, path="/b", verdict="BLOCKED", rule_id=made.pk), row(1, path="/a"))
    assert told(viewer(), LOGS)["requestLogs"]["nodes"] == [
        {"path": "/a", "rule": None},
        {"path": "/b", "rule": {"target": "198.51.100.7", "action": "BLOCK"}},
    ]


def test_the_rules_of_a_page_of_requests_are_fetched_at_once() -> None:
    client = viewer()
    for number in range(40):
        made = rule(f"198.51.100.{number}")
        record(row(number, verdict="BLOCKED", rule_id=made.pk))
    with CaptureQueriesContext(connection) as captured:
        nodes = told(client, LOGS)["requestLogs"]["nodes"]
    assert len({node["rule"]["target"] for node in nodes}) == 40
    asked = [query["sql"] for query in captured if "tracking_accessrule" in query["sql"]]
    assert len(asked) == 1


def test_the_rule_of_a_request_needs_its_own_permission() -> None:
    record(row(0, path="/a"))
    answer = ask(client_with("view_requestlog"), LOGS)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert answer["data"]["requestLogs"]["nodes"] == [{"path": "/a", "rule": None}]
