"""What is told about one address, against the rows it is told from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from tests.mmdb import CITY, INSIDE, NETWORK, write
from tests.schema.found import suspicion
from tests.schema.record import NOON, ask, plan_of, reader, record, refused, row, statements, told
from tracking import blocklist, dossier, geo
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target, target_of_country, target_of_network
from tracking.models import AccessRule, LoginAttempt, RequestLog
from tracking.proposals import Proposal
from tracking.timebudget import TimeBudget
from users.models import User

pytestmark = pytest.mark.django_db

CLIENT = "198.51.100.7"
TALLIES = ("statusClasses", "paths", "agents", "users", "operations", "tags")
SHOWN = " ".join(f"{name} {{ value requests }}" for name in TALLIES)
ACTIVITY = f"activity {{ requests isComplete since verdicts {{ verdict requests }} {SHOWN} }}"
NEIGHBOURS = "neighbours { network count isComplete busiest { address requests lastSeen } }"
PARTS = {
    "rules": "rules { target action active }",
    "pastRules": "pastRules { target endedAt expiresAt }",
    "suspicions": "suspicions { address detector evidence(first: 2) { path } block { target } }",
    "attempts": "attempts { account outcome }",
}
EVERYTHING = f"""
  address scope place {{ country city asn }} firstSeen lastSeen {ACTIVITY}
  recentRequests {{ at path rule {{ target }} }} {NEIGHBOURS} {" ".join(PARTS.values())}
"""


def about(fields: str) -> str:
    return f"query Q($address: IPAddress!) {{ ip(address: $address) {{ {fields} }} }}"


def known(client: Client, fields: str, address: str = CLIENT) -> Any:
    return told(client, about(fields), address=address)["ip"]


@pytest.fixture
def client() -> Client:
    """Return a client whose user may see everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("all-seeing"))
    return client


@pytest.fixture
def london(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield an address that is known to be in London."""
    settings.TRACKING_GEOIP_PATH = write(tmp_path / "city.mmdb", "GeoLite2-City", {NETWORK: CITY})
    monkeypatch.setattr(geo, "CHECK_SECONDS", 0.0)
    geo.reset()
    yield INSIDE
    geo.reset()


def put(target: Target, action: RuleAction = RuleAction.BLOCK, **more: Any) -> AccessRule:
    return blocklist.block(COMMAND_LINE, Proposal(target=target, action=action, **more))


def on(network: str) -> Target:
    return target_of_network(parse_network(network))


def test_of_an_address_never_seen_only_the_kind_is_known(client: Client) -> None:
    assert known(client, EVERYTHING) == {
        "address": CLIENT,
        "scope": "DOCUMENTATION",
        "place": None,
        "firstSeen": None,
        "lastSeen": None,
        "activity": {"requests": 0, "isComplete": True, "since": None, "verdicts": []}
        | {name: [] for name in TALLIES},
        "recentRequests": [],
        "neighbours": {
            "network": "198.51.100.0/24", "count": 0, "isComplete": True, "busiest": [],
        },
        **{part: [] for part in PARTS},
    }  # fmt: skip


def test_what_it_did_is_counted_and_of_no_other_address(client: Client) -> None:
    record(
        row(0, address=CLIENT, path="/a", username="ada", operations=("Login", "login", "login")),
        row(1, address=CLIENT, path="/b", status=404, user_agent="curl/8", tags=("sqli", "xss")),
        row(2, address=CLIENT, path="/b", status=403, user_agent="Mozilla/5.0 Firefox/128.0",
            verdict="BLOCKED", tags=("sqli",)),
        row(3, address="198.51.100.8", path="/c", username="eve", tags=("rce",)),
    )  # fmt: skip
    found = known(client, f"firstSeen lastSeen {ACTIVITY} recentRequests {{ path }}")
    activity = found["activity"]
    assert (found["firstSeen"], found["lastSeen"]) == (
        "2026-05-17T12:00:00.000000Z",
        "2026-05-17T12:00:02.000000Z",
    )
    assert [each["path"] for each in found["recentRequests"]] == ["/b", "/b", "/a"]
    assert (activity["requests"], activity["isComplete"]) == (3, True)
    assert activity["since"] == found["firstSeen"]
    assert activity["verdicts"] == [
        {"verdict": "ALLOWED", "requests": 2},
        {"verdict": "BLOCKED", "requests": 1},
    ]
    assert {
        name: [(each["value"], each["requests"]) for each in activity[name]] for name in TALLIES
    } == {
        "statusClasses": [("4xx", 2), ("2xx", 1)],
        "paths": [("/b", 2), ("/a", 1)],
        "agents": [("Firefox", 1), ("curl", 1), (None, 1)],
        "users": [(None, 2), ("ada", 1)],
        "operations": [("Login", 1), ("login", 1)],
        "tags": [("sqli", 2), ("xss", 1)],
    }


def test_agents_are_named_as_statistics_name_them(client: Client) -> None:
    agents = ["", "?", "Mozilla/5.0 (Googlebot/2.1) Chrome/126.0", "OPR/9 Chrome/1", "WGET/1"]
    record(*[row(address=CLIENT, user_agent=agent) for agent in agents])
    groups = told(
        client, "{ requestStats(groupBy: [AGENT_FAMILY]) { dimensions { value } count } }"
    )["requestStats"]
    assert {each["value"] for each in known(client, ACTIVITY)["activity"]["agents"]} == {
        group["dimensions"][0]["value"] for group in groups
    }


def test_only_the_newest_requests_are_counted_and_that_is_said(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dossier, "NEWEST", 5)
    record(*[row(n, address=CLIENT, path=f"/{n}") for n in range(5)])
    assert known(client, ACTIVITY)["activity"]["isComplete"] is True
    record(*[row(n, address=CLIENT, path=f"/{n}") for n in range(5, 8)])
    found = known(client, f"firstSeen {ACTIVITY}")
    activity = found["activity"]
    assert (activity["requests"], activity["isComplete"]) == (5, False)
    assert activity["since"] == "2026-05-17T12:00:03.000000Z"
    assert {each["value"] for each in activity["paths"]} == {"/3", "/4", "/5", "/6", "/7"}
    assert found["firstSeen"] == "2026-05-17T12:00:00.000000Z"


def test_its_place_and_scope_are_told(client: Client, london: str) -> None:
    assert known(client, "scope place { country city asn }", london) == {
        "scope": "GLOBAL",
        "place": {"country": "GB", "city": "London", "asn": None},
    }
    assert known(client, "scope", "10.0.0.1")["scope"] == "PRIVATE"


def test_rules_are_those_on_it_its_networks_and_its_country(client: Client, london: str) -> None:
    for other in (on("81.2.69.143"), on("81.2.68.0/24"), target_of_country("FR")):
        put(other)
    put(on(london))
    put(on("81.2.69.128/25"), observed=True)
    lifted, expired = put(on(NETWORK)), put(on("81.2.64.0/18"))
    put(on("81.0.0.0/8"))
    put(target_of_country("GB"))
    now = timezone.now()
    AccessRule.objects.filter(pk=lifted.pk).update(ended_at=now)
    AccessRule.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(hours=1))
    found = known(client, PARTS["rules"] + PARTS["pastRules"], london)
    in_force = [each["target"] for each in found["rules"] if each["active"]]
    assert in_force == ["GB", "81.0.0.0/8", "81.2.69.128/25", london]
    assert len(found["rules"]) == len(in_force)
    assert [each["target"] for each in found["pastRules"]] == ["81.2.64.0/18", NETWORK]


def test_suspicions_and_attempts_are_those_of_the_address(client: Client) -> None:
    behind = record(*[row(n, address=CLIENT, path=f"/{n}") for n in range(3)])
    numbers = sorted(RequestLog.objects.values_list("pk", flat=True))
    assert len(behind) == len(numbers)
    suspicion(CLIENT, evidence=numbers)
    suspicion("198.51.100.8")
    for n, address in enumerate((CLIENT, CLIENT, "198.51.100.8")):
        LoginAttempt.objects.create(
            at=NOON + timedelta(seconds=n), address=address, account=f"a{n}",
            outcome="FAILED", door="/admin/",
        )  # fmt: skip
    found = known(client, PARTS["suspicions"] + PARTS["attempts"])
    [only] = found["suspicions"]
    assert [each["path"] for each in only["evidence"]] == ["/2", "/1"]
    assert [each["account"] for each in found["attempts"]] == ["a1", "a0"]


def test_suspicions_of_its_network_are_its_own() -> None:
    suspicion("2001:db8::/64", detector="flood")
    found = dossier.suspicions_of(ip_address("2001:db8::5"))
    assert [each.target for each in found] == ["2001:db8::/64"]


def test_neighbours_are_the_other_addresses_of_the_network_the_busiest_first(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dossier, "MOST_COUNTED", 4)
    for address, times in {
        CLIENT: 9, "198.51.100.0": 2, "198.51.100.255": 6, "198.51.101.0": 9, "198.51.99.255": 9,
        "2001:db8::1": 3,
    }.items():  # fmt: skip
        record(*[row(n, address=address) for n in range(times)])
    assert known(client, NEIGHBOURS)["neighbours"] == {
        "network": "198.51.100.0/24",
        "count": 2,
        "isComplete": True,
        "busiest": [
            {"address": "198.51.100.255", "requests": 4, "lastSeen": "2026-05-17T12:00:05.000000Z"},
            {"address": "198.51.100.0", "requests": 2, "lastSeen": "2026-05-17T12:00:01.000000Z"},
        ],
    }


def test_of_too_many_neighbours_the_nearest_are_looked_at(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dossier, "MOST_NEIGHBOURS", 2)
    record(*[row(address=f"2001:db8::{n:x}") for n in range(1, 9)])
    found = known(client, NEIGHBOURS, "2001:db8::5")["neighbours"]
    assert (found["network"], found["count"], found["isComplete"]) == ("2001:db8::/64", 4, False)
    assert {each["address"] for each in found["busiest"]} == {
        f"2001:db8::{n}" for n in (3, 4, 6, 7)
    }


ADDRESSES = st.sampled_from(
    ["192.0.2.0", "192.0.2.1", "192.0.2.255", "192.0.3.0", "10.0.0.1", "255.255.255.255",
     "0.0.0.0", "::", "::1", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
)  # fmt: skip


@given(recorded=st.lists(ADDRESSES, max_size=20), asked=ADDRESSES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_neighbours_agree_with_counting_in_python(
    client: Client, recorded: list[str], asked: str
) -> None:
    RequestLog.objects.all().delete()
    record(*[row(address=address) for address in recorded])
    network = ip_network(f"{asked}/{64 if ':' in asked else 24}", strict=False)
    expected = {
        address: recorded.count(address)
        for address in recorded
        if address != asked and ip_address(address) in network
    }
    found = known(client, NEIGHBOURS, asked)["neighbours"]
    assert {each["address"]: each["requests"] for each in found["busiest"]} == expected
    assert (found["count"], found["isComplete"]) == (len(expected), True)


@pytest.mark.parametrize(
    "address",
    ["", " ", "198.51.100.7 ", "198.51.100.7:80", "198.51.100.0/24", "198.51.100.07", "1", "0x7f.1",
     "fe80::1%eth0", "[::1]", "' OR 1=1 --", "198.51.100.7\x00", "%s", "{shown}", "\ud800",
     "1" * 9999, None, 7, [CLIENT, CLIENT], {"a": CLIENT}],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_asks_the_record_nothing(
    client: Client, address: object
) -> None:
    with CaptureQueriesContext(connection) as captured:
        answer = ask(client, about("lastSeen"), address=address)
    [error] = answer["errors"]
    assert error["extensions"]["code"] in {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}
    assert not any("tracking_requestlog" in each["sql"] for each in captured.captured_queries)


@pytest.mark.parametrize("written", ["::ffff:198.51.100.7", "::FFFF:c633:6407"])
def test_an_address_is_known_by_any_spelling(client: Client, written: str) -> None:
    record(row(address=CLIENT))
    found = known(client, "address lastSeen", written)
    assert (found["address"], found["lastSeen"] is None) == (CLIENT, False)


def test_a_stranger_is_told_nothing() -> None:
    assert refused(Client(), about("lastSeen"), address=CLIENT)[0] == "UNAUTHENTICATED"


def test_each_part_needs_what_its_list_needs() -> None:
    client = reader()
    answer = ask(client, about(EVERYTHING), address=CLIENT)
    assert {error["path"][-1]: error["extensions"]["code"] for error in answer["errors"]} == (
        dict.fromkeys(PARTS, "FORBIDDEN")
    )
    found = answer["data"]["ip"]
    assert (found["address"], [found[part] for part in PARTS]) == (CLIENT, [None] * len(PARTS))
    needed = ("view_accessrule", "view_suspiciousip", "view_loginattempt")
    user = User.objects.get(username="reader")
    user.user_permissions.add(*Permission.objects.filter(codename__in=needed))
    assert "errors" not in ask(client, about(EVERYTHING), address=CLIENT)


def test_the_other_permissions_alone_open_no_dossier() -> None:
    user = User.objects.create_user("curious")
    needed = ("view_accessrule", "view_suspiciousip", "view_loginattempt")
    user.user_permissions.add(*Permission.objects.filter(codename__in=needed))
    client = Client()
    client.force_login(user)
    assert refused(client, about("rules { target }"), address=CLIENT)[0] == "FORBIDDEN"


def test_all_of_it_takes_the_same_few_queries_however_much_there_is(client: Client) -> None:
    def taken() -> int:
        with CaptureQueriesContext(connection) as captured:
            known(client, EVERYTHING)
        asked = [each["sql"] for each in captured.captured_queries if "tracking_" in each["sql"]]
        return len(asked)

    first = taken()
    record(*[row(n, address=f"198.51.100.{n % 250}") for n in range(2500)])
    record(*[row(n, address=CLIENT) for n in range(200)])
    numbers = list(RequestLog.objects.values_list("pk", flat=True)[:50])
    rule = put(on(CLIENT))
    put(on("198.51.0.0/16"))
    for detector in ("flood", "probing", "scanning"):
        suspicion(CLIENT, detector=detector, evidence=numbers, rule=rule)
    assert first == 9  # one for each part, two for when it was seen
    assert taken() == 9 + 2  # and the evidence of all suspicions, and their blocks


def test_what_is_not_asked_for_is_not_looked_up(client: Client) -> None:
    record(row(address=CLIENT))
    assert len(statements(client, about("scope lastSeen"), address=CLIENT)) == 2


def test_every_question_to_the_record_goes_by_the_index_of_addresses(client: Client) -> None:
    record(*[row(n, address=f"192.0.2.{n % 250}") for n in range(3000)])
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute("SET LOCAL enable_seqscan = off")
    fields = f"firstSeen {ACTIVITY} recentRequests {{ at }} {NEIGHBOURS}"
    asked = statements(client, about(fields), address="192.0.2.7")
    assert len(asked) == 5
    for sql in asked:
        plan = plan_of(sql)
        assert "requestlog_address_at" in plan
        assert "SCAN tracking_requestlog" not in plan


def test_a_part_that_takes_too_long_says_so_and_the_others_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(_: object) -> None:
        with TimeBudget(-1).spending():
            raise AssertionError

    record(row(address=CLIENT))
    monkeypatch.setattr(dossier, "neighbours", endless)
    answer = ask(client, about(f"lastSeen {NEIGHBOURS}"), address=CLIENT)
    [error] = answer["errors"]
    assert (error["extensions"]["code"], error["path"]) == (
        "QUERY_TOO_COSTLY",
        ["ip", "neighbours"],
    )
    assert "fewer parts" in error["message"]
    assert (answer["data"]["ip"]["neighbours"], bool(answer["data"]["ip"]["lastSeen"])) == (
        None,
        True,
    )


def test_a_document_that_asks_for_too_much_is_refused_before_it_is_answered(
    client: Client,
) -> None:
    inner = " ".join(f"a{n}: path" for n in range(12))
    fields = f"suspicions {{ evidence(first: 100) {{ {inner} }} }}"
    answer = ask(client, about(fields), address=CLIENT)
    assert answer["errors"][0]["extensions"]["code"] == "QUERY_TOO_COSTLY"
