"""Suspicious addresses, as those see and review them who may."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from schema.scalars import written_time
from tests.schema.book import change, client_with, rule
from tests.schema.found import flood, id_of, suggested, suspicion
from tests.schema.record import NOON, ask, record, refused, row, told
from tracking import detection, policy
from tracking.engine.rules import RuleAction
from tracking.models import AccessRule, AuditEntry, Counter, RequestLog, SuspiciousIP

pytestmark = pytest.mark.django_db

QUERY = """query Q($f: SuspiciousIPFilter, $first: Int, $after: String, $last: Int, $before: String)
    { suspiciousIps(filter: $f, first: $first, after: $after, last: $last, before: $before) {
        nodes { address } edges { cursor node { address } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
REVIEW = ("change_suspiciousip",)
BLOCKS = (*REVIEW, "add_accessrule")
ANSWER = (
    "suspiciousIp { address status note reviewedBy reviewedAt isSuggested suggestedDuration }"
    " rule { target active origin expiresAt } errors { __typename code message path }"
)


def viewer() -> Client:
    return client_with("view_suspiciousip", "view_requestlog", "view_accessrule")


def targets(**asked: Any) -> list[str]:
    page = told(viewer(), QUERY, f=asked)["suspiciousIps"]
    return [node["address"] for node in page["nodes"]]


def test_a_suspicion_shows_all_that_was_found_and_decided() -> None:
    now = timezone.now()
    requests = record(*(row(n, path=f"/{n}") for n in range(3)))
    made = rule("198.51.100.7", expires_at=now + timedelta(hours=1))
    suspicion(
        evidence=[request.pk for request in requests],
        rule=made,
        because="it takes more",
        note="look",
        reviewed_by="ada",
        reviewed_at=NOON,
        status="CONFIRMED",
        count=2**40,
    )
    fields = (
        "address detector reason severity count threshold windowStart windowEnd firstSeen lastSeen"
        " status note reviewedBy reviewedAt isSuggested because suggestedDuration"
        " evidence(first: 2) { path } block { target active }"
    )
    (node,) = told(viewer(), f"{{ suspiciousIps {{ nodes {{ {fields} }} }} }}")["suspiciousIps"][
        "nodes"
    ]
    assert node == {
        "address": "198.51.100.7",
        "detector": "probing",
        "reason": "3 sensitive paths, such as /.env",
        "severity": "HIGH",
        "count": 2**31 - 1,
        "threshold": 2,
        "windowStart": "2026-05-17T11:59:00.000000Z",
        "windowEnd": "2026-05-17T12:00:00.000000Z",
        "firstSeen": "2026-05-17T11:55:00.000000Z",
        "lastSeen": "2026-05-17T12:00:00.000000Z",
        "status": "CONFIRMED",
        "note": "look",
        "reviewedBy": "ada",
        "reviewedAt": "2026-05-17T12:00:00.000000Z",
        "isSuggested": False,
        "because": "it takes more",
        "suggestedDuration": None,
        "evidence": [{"path": "/2"}, {"path": "/1"}],
        "block": {"target": "198.51.100.7", "active": True},
    }


def test_what_a_run_finds_is_listed_with_the_newest_requests_behind_it() -> None:
    now = timezone.now()
    flood(now)
    detection.run(now)
    query = "query Q($f: SuspiciousIPFilter) { suspiciousIps(filter: $f) { nodes { SELECTED } } }"
    selected = "address count evidence { at address } block { origin }"
    (node,) = told(viewer(), query.replace("SELECTED", selected), f={"detector": ["flood"]})[
        "suspiciousIps"
    ]["nodes"]
    assert (node["address"], node["count"]) == ("8.8.4.4", 700)
    assert len(node["evidence"]) == 10
    assert node["evidence"][0] == {"at": written_time(now), "address": "8.8.4.4"}
    assert node["block"] == {"origin": "AUTOMATIC"}


def test_filters_find_what_covers_an_address_and_what_lies_in_a_network() -> None:
    suspicion("198.51.100.7")
    suspicion("198.51.100.0/24", detector="swarm")
    suspicion("2001:db8:1::/64")
    suspicion("203.0.113.1")
    both = {"198.51.100.7", "198.51.100.0/24"}
    assert set(targets(address="198.51.100.7")) == both
    assert set(targets(address="::ffff:198.51.100.7")) == both
    assert set(targets(address="198.51.100.8")) == {"198.51.100.0/24"}
    assert set(targets(address="2001:db8:1::9")) == {"2001:db8:1::/64"}
    assert set(targets(network="198.51.100.0/24")) == both
    assert set(targets(network="198.51.0.0/16")) == both
    assert set(targets(network="198.51.100.7")) == {"198.51.100.7"}
    assert set(targets(network="2001:db8::/32")) == {"2001:db8:1::/64"}


def test_filters_by_what_is_known_of_a_suspicion_all_hold_together() -> None:
    suspicion("192.0.2.1", detector="flood", severity="LOW")
    suspicion("192.0.2.2", detector="flood", severity="HIGH", at=NOON + timedelta(hours=1))
    suggested("192.0.2.3", detector="burst", status="CONFIRMED")
    assert set(targets(detector=["flood", "burst"])) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    assert targets(detector=["flood"], severity=["HIGH", "MEDIUM"]) == ["192.0.2.2"]
    assert set(targets(status=["OPEN"])) == {"192.0.2.1", "192.0.2.2"}
    assert targets(isSuggested=True) == ["192.0.2.3"]
    assert set(targets(isSuggested=False)) == {"192.0.2.1", "192.0.2.2"}
    assert targets(lastSeen={"gte": "2026-05-17T12:30:00Z"}) == ["192.0.2.2"]
    assert set(targets(lastSeen={"lt": "2026-05-17T12:30:00Z"})) == {"192.0.2.1", "192.0.2.3"}
    assert targets(detector=[]) == targets(severity=[]) == targets(status=[]) == []
    nothing = {"detector": None, "address": None, "isSuggested": None, "lastSeen": None}
    assert len(targets(**nothing)) == 3


def test_pages_go_by_the_newest_request_and_never_repeat() -> None:
    for n in range(5):
        suspicion(f"192.0.2.{n}", at=NOON + timedelta(minutes=n // 2))
    seen, after = [], None
    while True:
        page = told(viewer(), QUERY, first=2, after=after)["suspiciousIps"]
        seen += [node["address"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == [f"192.0.2.{n}" for n in (4, 3, 2, 1, 0)]
    page = told(viewer(), QUERY, last=2)["suspiciousIps"]
    assert [node["address"] for node in page["nodes"]] == ["192.0.2.1", "192.0.2.0"]


@pytest.mark.parametrize(
    "asked",
    [
        {"first": 0},
        {"first": 101},
        {"first": 1, "last": 1},
        {"after": "x"},
        {"before": "A" * 5000},
        {"f": {"address": "198.51.100.0/24"}},
        {"f": {"address": "1" * 5000}},
        {"f": {"network": "198.51.100.1/24"}},
        {"f": {"network": "fe80::1%eth0"}},
        {"f": {"detector": ["a\x00"]}},
        {"f": {"detector": ["a" * 5000]}},
        {"f": {"lastSeen": {"gte": "yesterday"}}},
        {"f": {"lastSeen": {"lt": "2026-05-17T12:00:00"}}},
    ],
    ids=lambda asked: str(asked)[:50],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any]) -> None:
    assert refused(viewer(), QUERY, **asked)[0] == "BAD_USER_INPUT"


@pytest.mark.parametrize("first", [0, -1, 101, 2**31 - 1])
def test_evidence_has_a_size_in_bounds(first: int) -> None:
    suspicion()
    query = "query Q($n: Int!) { suspiciousIps { nodes { evidence(first: $n) { path } } } }"
    assert refused(viewer(), query, n=first)[0] in {"BAD_USER_INPUT", "QUERY_TOO_COSTLY"}


def test_evidence_and_blocks_of_a_whole_page_are_asked_for_once() -> None:
    rules = [rule(f"203.0.113.{n}") for n in range(20)]
    for n, made in enumerate(rules):
        requests = record(*(row(n, path=f"/{n}/{m}") for m in range(3)))
        suspicion(f"192.0.2.{n}", rule=made, evidence=[request.pk for request in requests])
    query = "{ suspiciousIps { nodes { evidence { path rule { id } } block { target } } } }"
    client = viewer()
    with CaptureQueriesContext(connection) as captured:
        nodes = told(client, query)["suspiciousIps"]["nodes"]
    assert len({request["path"] for node in nodes for request in node["evidence"]}) == 60
    assert len({node["block"]["target"] for node in nodes}) == 20
    statements = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert len([sql for sql in statements if "tracking_requestlog" in sql]) == 1
    assert len([sql for sql in statements if "tracking_accessrule" in sql]) == 1
    assert len([sql for sql in statements if "tracking_suspiciousip" in sql]) == 2


def test_evidence_that_is_no_longer_on_record_is_left_out() -> None:
    old, new = record(row(0, path="/old"), row(1, path="/new"))
    suspicion(evidence=[old.pk, new.pk])
    RequestLog.objects.filter(pk=old.pk).delete()
    query = "{ suspiciousIps { nodes { evidence { path } } } }"
    assert told(viewer(), query)["suspiciousIps"]["nodes"] == [{"evidence": [{"path": "/new"}]}]


def test_a_page_of_evidence_costs_what_it_brings() -> None:
    fields = " ".join(f"f{n}: path" for n in range(10))
    many = f"{{ suspiciousIps(first: 100) {{ nodes {{ evidence {{ {fields} at host }} }} }} }}"
    assert refused(viewer(), many)[0] == "QUERY_TOO_COSTLY"


def test_evidence_needs_the_permission_to_see_requests() -> None:
    suspicion()
    client = client_with("view_suspiciousip")
    query = "{ suspiciousIps { nodes { address evidence { path } } } }"
    assert refused(client, query) == (
        "FORBIDDEN",
        "This needs the permission tracking.view_requestlog.",
    )


def test_the_block_needs_the_permission_to_see_rules() -> None:
    suspicion()
    answer = ask(
        client_with("view_suspiciousip"), "{ suspiciousIps { nodes { address block { id } } } }"
    )
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert answer["data"]["suspiciousIps"]["nodes"] == [{"address": "198.51.100.7", "block": None}]


def test_a_review_stands_on_the_suspicion_and_on_record() -> None:
    found = suspicion()
    client = client_with(*REVIEW)
    payload = change(
        client, "reviewSuspiciousIp", ANSWER, id=id_of(found), status="CONFIRMED", note="seen\x00"
    )
    assert payload["errors"] == []
    assert payload["rule"] is None
    shown = payload["suspiciousIp"]
    assert (shown["status"], shown["reviewedBy"]) == ("CONFIRMED", "operator")
    assert shown["note"] == "seen\\x00"
    assert shown["reviewedAt"] is not None
    (entry,) = AuditEntry.objects.all()
    assert (entry.actor, entry.action, entry.target) == (
        "operator",
        "review",
        "probing 198.51.100.7",
    )
    assert (entry.before, entry.after) == (
        {"status": "OPEN", "note": ""},
        {"status": "CONFIRMED", "note": "seen\\x00", "rule": None},
    )
    change(client, "reviewSuspiciousIp", ANSWER, id=id_of(found), status="IGNORED")
    found.refresh_from_db()
    assert (found.status, found.note) == ("IGNORED", "seen\\x00")


@pytest.mark.django_db(transaction=True)
def test_a_review_may_block_and_is_in_force_at_once() -> None:
    found, stranger = suspicion(), Client(REMOTE_ADDR="198.51.100.7")
    assert stranger.get("/nowhere/").status_code == 404
    before = timezone.now()
    payload = change(
        client_with(*BLOCKS),
        "reviewSuspiciousIp",
        ANSWER,
        id=id_of(found),
        status="CONFIRMED",
        block="7d",
    )
    assert payload["errors"] == []
    assert (payload["rule"]["target"], payload["rule"]["origin"]) == ("198.51.100.7", "MANUAL")
    assert stranger.get("/nowhere/").status_code == 403
    found.refresh_from_db()
    assert found.rule is not None
    assert found.rule.expires_at is not None
    assert found.rule.expires_at - before >= timedelta(days=7)


def test_a_review_may_let_the_automatic_block_last_longer() -> None:
    soon = timezone.now() + timedelta(hours=1)
    made = rule("198.51.100.7", origin=AccessRule.Origin.AUTOMATIC, expires_at=soon)
    found = suspicion(rule=made)
    client = client_with(*BLOCKS)
    asked = {"id": id_of(found), "status": "CONFIRMED"}
    payload = change(client, "reviewSuspiciousIp", ANSWER, **asked, block="7d")
    assert payload["errors"] == []
    made.refresh_from_db()
    assert made.expires_at is not None
    assert made.expires_at > soon + timedelta(days=6)
    assert AccessRule.objects.count() == 1
    (error,) = change(client, "reviewSuspiciousIp", ANSWER, **asked, block="1h")["errors"]
    assert (error["__typename"], error["code"]) == ("AlreadyBlockedError", "ALREADY_BLOCKED")
    assert error["path"] == ["input", "id"]


@pytest.mark.parametrize("status", ["FALSE_POSITIVE", "IGNORED"])
def test_what_is_false_or_ignored_lifts_the_automatic_block(status: str) -> None:
    soon = timezone.now() + timedelta(hours=1)
    found = suspicion(
        rule=rule("198.51.100.7", origin=AccessRule.Origin.AUTOMATIC, expires_at=soon)
    )
    payload = change(
        client_with(*REVIEW), "reviewSuspiciousIp", ANSWER, id=id_of(found), status=status
    )
    assert payload["errors"] == []
    assert payload["rule"]["active"] is False
    assert AuditEntry.objects.filter(action="unblock").count() == 1


@pytest.mark.parametrize("name", ["reviewSuspiciousIp", "dismissSuggestion"])
def test_a_block_that_a_person_made_takes_the_permission_to_lift_it(name: str) -> None:
    made = rule("198.51.100.7")
    found = suggested(rule=made)
    asked = {"id": id_of(found), "status": "FALSE_POSITIVE"}
    kind = f"{name[0].upper()}{name[1:]}Input!"
    query = f"mutation M($i: {kind}) {{ {name}(input: $i) {{ errors {{ code }} }} }}"
    assert refused(client_with(*REVIEW), query, i=asked)[0] == "FORBIDDEN"
    made.refresh_from_db()
    assert made.ended_at is None
    payload = change(client_with(*REVIEW, "change_accessrule"), name, ANSWER, **asked)
    assert (payload["rule"]["active"], payload["errors"]) == (False, [])


def test_blocking_takes_the_permission_to_block_besides() -> None:
    found = suggested()
    client = client_with(*REVIEW)
    query = (
        "mutation M($i: ReviewSuspiciousIpInput!) { reviewSuspiciousIp(input: $i) { rule { id } } }"
    )
    asked = {"id": id_of(found), "status": "CONFIRMED", "block": "1h"}
    assert refused(client, query, i=asked)[0] == "FORBIDDEN"
    query = (
        "mutation M($i: ApproveSuggestionInput!) { approveSuggestion(input: $i) { rule { id } } }"
    )
    assert refused(client, query, i={"id": id_of(found)})[0] == "FORBIDDEN"
    found.refresh_from_db()
    assert (found.status, found.is_suggested) == ("OPEN", True)
    assert not AccessRule.objects.exists()


def test_a_note_alone_leaves_a_suggestion_waiting() -> None:
    found = suggested()
    payload = change(
        client_with(*REVIEW),
        "reviewSuspiciousIp",
        ANSWER,
        id=id_of(found),
        status="OPEN",
        note="x" * 5000,
    )
    assert payload["suspiciousIp"]["isSuggested"] is True
    assert payload["suspiciousIp"]["suggestedDuration"] == "P0DT04H00M00S"
    assert len(payload["suspiciousIp"]["note"]) == 1000


@pytest.mark.parametrize(("given", "hours"), [({}, 4), ({"duration": "P1D"}, 24)])
def test_an_approved_suggestion_blocks_for_as_long_as_said(
    given: dict[str, str], hours: int
) -> None:
    found, before = suggested(), timezone.now()
    payload = change(
        client_with(*BLOCKS), "approveSuggestion", ANSWER, id=id_of(found), note="yes", **given
    )
    assert payload["errors"] == []
    assert payload["suspiciousIp"]["status"] == "CONFIRMED"
    assert payload["suspiciousIp"]["isSuggested"] is False
    (made,) = AccessRule.objects.all()
    assert made.expires_at is not None
    lasting = made.expires_at - before
    assert timedelta(hours=hours) <= lasting < timedelta(hours=hours, minutes=1)


@pytest.mark.parametrize("status", ["FALSE_POSITIVE", "IGNORED"])
def test_a_dismissed_suggestion_blocks_nobody(status: str) -> None:
    found = suggested()
    payload = change(
        client_with(*REVIEW), "dismissSuggestion", ANSWER, id=id_of(found), status=status
    )
    assert payload["errors"] == []
    assert payload["suspiciousIp"]["status"] == status
    assert not AccessRule.objects.exists()


@pytest.mark.parametrize(
    ("name", "more"), [("approveSuggestion", {}), ("dismissSuggestion", {"status": "IGNORED"})]
)
def test_what_is_decided_cannot_be_decided_again(name: str, more: dict[str, str]) -> None:
    for found in (suspicion("192.0.2.1"), suggested("192.0.2.2")):
        asked = {"id": id_of(found), **more}
        if found.is_suggested:
            assert change(client_with(*BLOCKS), name, ANSWER, **asked)["errors"] == []
        rules = AccessRule.objects.count()
        payload = change(client_with(*BLOCKS), name, ANSWER, **asked)
        assert payload["suspiciousIp"] is None
        (error,) = payload["errors"]
        assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "id"])
        assert AccessRule.objects.count() == rules


def test_what_may_not_be_blocked_is_not_and_the_review_with_it() -> None:
    rule("198.51.100.0/24", RuleAction.ALLOW)
    found = suggested("198.51.100.7")
    own = suggested("192.0.2.0/24")
    client = client_with(*BLOCKS)
    for each, code in ((found, "PROTECTED_TARGET"), (own, "WOULD_LOCK_OUT")):
        payload = change(client, "approveSuggestion", ANSWER, id=id_of(each))
        assert [error["code"] for error in payload["errors"]] == [code]
        each.refresh_from_db()
        assert (each.status, each.is_suggested, each.note) == ("OPEN", True, "")


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"status": "FALSE_POSITIVE", "block": "1h"}, "status"),
        ({"status": "CONFIRMED", "block": "P36500D"}, "block"),
    ],
)
def test_what_does_not_fit_together_is_an_error_at_its_place(
    more: dict[str, str], path: str
) -> None:
    found = suspicion()
    payload = change(client_with(*BLOCKS), "reviewSuspiciousIp", ANSWER, id=id_of(found), **more)
    (error,) = payload["errors"]
    assert (error["__typename"], error["path"]) == ("InputError", ["input", path])
    found.refresh_from_db()
    assert (found.status, found.reviewed_at) == ("OPEN", None)


def test_an_old_suspicion_is_not_opened_beside_a_newer_open_one() -> None:
    old = suspicion(status="CONFIRMED")
    suspicion(at=NOON + timedelta(days=3))
    payload = change(
        client_with(*REVIEW), "reviewSuspiciousIp", ANSWER, id=id_of(old), status="OPEN"
    )
    (error,) = payload["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "status"])


@pytest.mark.parametrize("name", ["reviewSuspiciousIp", "approveSuggestion", "dismissSuggestion"])
def test_ids_that_are_none_are_refused_and_ids_of_nothing_are_errors(name: str) -> None:
    client = client_with(*BLOCKS)
    more = {} if name == "approveSuggestion" else {"status": "IGNORED"}
    kind = f"{name[0].upper()}{name[1:]}Input!"
    query = f"mutation M($i: {kind}) {{ {name}(input: $i) {{ errors {{ code path }} }} }}"
    rule_id = base64.b64encode(b"AccessRule:1").decode()
    for text in ("", "x", "\x00", "1", rule_id, base64.b64encode(b"SuspiciousIP:-1").decode()):
        assert refused(client, query, i={"id": text, **more})[0] == "BAD_USER_INPUT"
    nothing = base64.b64encode(b"SuspiciousIP:9000000000000000000").decode()
    payload = told(client, query, i={"id": nothing, **more})[name]
    assert payload["errors"] == [{"code": "NOT_FOUND", "path": ["input", "id"]}]


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "OPENED"},
        {"status": None},
        {"status": "CONFIRMED", "block": "-PT1H"},
        {"status": "CONFIRMED", "block": 3600},
        {"status": "CONFIRMED", "block": "P1D" * 2000},
        {"status": "CONFIRMED", "note": 7},
    ],
    ids=lambda asked: str(asked)[:50],
)
def test_values_of_the_wrong_kind_are_refused_before_anything(asked: dict[str, Any]) -> None:
    found = suspicion()
    query = (
        "mutation M($i: ReviewSuspiciousIpInput!) { reviewSuspiciousIp(input: $i) { rule { id } } }"
    )
    assert refused(client_with(*BLOCKS), query, i={"id": id_of(found), **asked})[0] == (
        "BAD_USER_INPUT"
    )
    assert not AuditEntry.objects.exists()


def test_a_detector_leaves_alone_what_was_found_false() -> None:
    now = timezone.now()
    found = suspicion("8.8.4.4", detector="flood", at=now - timedelta(minutes=30))
    change(
        client_with(*REVIEW),
        "reviewSuspiciousIp",
        ANSWER,
        id=id_of(found),
        status="FALSE_POSITIVE",
    )
    flood(now)
    detection.run(now)
    assert not AccessRule.objects.exists()
    query = (
        "query Q($f: SuspiciousIPFilter) { suspiciousIps(filter: $f) { nodes { status because } } }"
    )
    asked = {"address": "8.8.4.4", "detector": ["flood"]}
    (node,) = told(viewer(), query, f=asked)["suspiciousIps"]["nodes"]
    assert node == {"status": "FALSE_POSITIVE", "because": "a person has looked at this before"}


@pytest.mark.django_db(transaction=True)
def test_of_two_who_approve_at_once_one_makes_the_block_and_the_other_is_told() -> None:
    asked = {"id": id_of(suggested())}
    clients = [client_with(*BLOCKS) for _ in range(4)]

    def approve(client: Client) -> list[str]:
        try:
            payload = change(client, "approveSuggestion", "errors { code }", **asked)
            return [error["code"] for error in payload["errors"]]
        finally:
            connection.close()

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(approve, clients))
    assert sorted(answers) == [[], *[["INVALID_INPUT"]] * 3]
    assert AccessRule.objects.count() == AuditEntry.objects.filter(action="review").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_review_waits_for_a_run_that_settles_the_same_and_neither_fails() -> None:
    now = timezone.now()
    detection.run(now)
    found, settling = suspicion(), Event()

    def settle() -> None:
        try:
            with transaction.atomic():  # in the order of a run
                Counter.objects.filter(name=detection.WATERMARK).update(updated_at=now)
                with policy.changing():
                    settling.set()
                    time.sleep(1)
                SuspiciousIP.objects.filter(pk=found.pk).update(count=9)
        finally:
            connection.close()

    client = client_with(*BLOCKS)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(settle)
        assert settling.wait(10)
        asked = {"id": id_of(found), "status": "CONFIRMED", "block": "1h"}
        assert change(client, "reviewSuspiciousIp", ANSWER, **asked)["errors"] == []
        run.result()
    found.refresh_from_db()
    assert (found.count, found.status) == (9, "CONFIRMED")
