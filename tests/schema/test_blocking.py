"""Changing the book of rules, as an operator does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.schema.book import OPERATOR, change, client_with, operator, rule, superuser
from tests.schema.record import ask, record, refused, row
from tracking import policy
from tracking.engine.rules import RuleAction
from tracking.models import AccessRule, AuditEntry

pytestmark = pytest.mark.django_db

ERRORS = (
    "errors { __typename code message path"
    " ... on WouldLockOutError { address } ... on TooWideError { recentAddresses }"
    " ... on AlreadyBlockedError { rule { target } }"
    " ... on NotBlockedError { rule { target } } }"
)
RULE = "rule { target kind action observed path methods reason origin createdBy expiresAt active }"
BOTH = f"{RULE} {ERRORS}"


def error_of(payload: dict[str, Any]) -> dict[str, Any]:
    (error,) = payload["errors"]
    assert payload.get("rule") is None
    return dict(error)


def live() -> set[tuple[str, str]]:
    rows = AccessRule.objects.live(timezone.now())
    return {(row.action, row.target) for row in rows}


def test_a_blocked_address_stands_in_the_book_and_on_record_with_its_maker() -> None:
    before = timezone.now()
    payload = change(
        operator(), "blockIp", BOTH, address="198.51.100.7", duration="PT2H", reason="scans"
    )
    assert payload["errors"] == []
    made = payload["rule"]
    (row,) = AccessRule.objects.all()
    assert row.expires_at is not None
    assert timedelta(hours=2) <= row.expires_at - before < timedelta(hours=2, seconds=30)
    assert made.pop("expiresAt").startswith(row.expires_at.strftime("%Y-%m-%dT%H:%M:%S"))
    assert made == {
        "target": "198.51.100.7",
        "kind": "ADDRESS",
        "action": "BLOCK",
        "observed": False,
        "path": "",
        "methods": [],
        "reason": "scans",
        "origin": "MANUAL",
        "createdBy": "operator",
        "active": True,
    }
    (entry,) = AuditEntry.objects.all()
    assert (entry.actor, entry.action, entry.target) == ("operator", "block", "198.51.100.7")
    assert (entry.address, entry.reason) == (OPERATOR, "scans")


@pytest.mark.django_db(transaction=True)
def test_who_is_blocked_over_graphql_is_refused_at_once_and_let_in_again_when_lifted() -> None:
    client, stranger = operator(), Client(REMOTE_ADDR="198.51.100.7")
    assert stranger.get("/nowhere/").status_code == 404
    change(client, "blockIp", BOTH, address="198.51.100.0/24")
    assert stranger.get("/nowhere/").status_code == 403
    change(client, "allowIp", ERRORS, address="198.51.100.7")
    assert stranger.get("/nowhere/").status_code == 404
    change(client, "disallowIp", BOTH, address="198.51.100.7")
    assert stranger.get("/nowhere/").status_code == 403
    change(client, "unblockIp", BOTH, address="198.51.100.0/24")
    assert stranger.get("/nowhere/").status_code == 404


def test_a_rule_may_be_observed_and_about_a_path_and_methods() -> None:
    payload = change(
        operator(),
        "blockIp",
        BOTH,
        address="::ffff:198.51.100.0/120",
        observed=True,
        path="/shop/",
        methods=["post", "GET", "POST"],
    )
    made = payload["rule"]
    assert (made["target"], made["kind"]) == ("198.51.100.0/24", "NETWORK")
    assert (made["observed"], made["path"], made["methods"]) == (True, "/shop/", ["GET", "POST"])
    assert made["expiresAt"] is None


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"path": "shop"}, "path"),
        ({"path": "/" + "a" * 5000}, "path"),
        ({"path": "/\x00"}, "path"),
        ({"methods": [""]}, "methods"),
        ({"methods": ["GET POST"]}, "methods"),
        ({"methods": ["G" * 5000]}, "methods"),
        ({"methods": ["ＧＥＴ"]}, "methods"),
        ({"duration": "P36500D"}, "duration"),
    ],
    ids=str,
)
def test_what_no_rule_may_hold_is_an_error_at_its_place(asked: dict[str, Any], path: str) -> None:
    error = error_of(change(operator(), "blockIp", BOTH, address="198.51.100.7", **asked))
    assert (error["__typename"], error["code"]) == ("InputError", "INVALID_INPUT")
    assert error["path"] == ["input", path]
    assert not AccessRule.objects.exists()


BLOCK = "mutation M($i: BlockIpInput!) { blockIp(input: $i) { errors { code } } }"


@pytest.mark.parametrize(
    "asked",
    [
        {"address": "1" * 5000},
        {"address": "198.51.100.7/255.255.255.0"},
        {"address": "198.51.100.7/24"},
        {"address": "198.51.100.7/0.0.0.255"},
        {"address": " 198.51.100.7"},
        {"address": "198.51.100.7:80"},
        {"address": "fe80::1%eth0"},
        {"address": "١٩٨.51.100.7"},
        {"address": "0x7f.1"},
        {"address": ""},
        {"address": None},
        {"address": 7},
        {"address": "198.51.100.7", "duration": "NaN"},
        {"address": "198.51.100.7", "duration": "-PT1H"},
        {"address": "198.51.100.7", "duration": "PT0S"},
        {"address": "198.51.100.7", "duration": "99999999w"},
        {"address": "198.51.100.7", "duration": "P1D" * 2000},
        {"address": "198.51.100.7", "duration": 60},
    ],
    ids=lambda asked: str(asked)[:50],
)
def test_what_is_no_address_or_duration_is_refused_before_anything(asked: dict[str, Any]) -> None:
    assert refused(operator(), BLOCK, i=asked)[0] == "BAD_USER_INPUT"
    assert not AccessRule.objects.exists()


def test_nobody_locks_himself_out() -> None:
    client = operator()
    for address in (OPERATOR, f"::ffff:{OPERATOR}", "192.0.2.0/24", "192.0.0.0/8"):
        error = error_of(change(client, "blockIp", BOTH, address=address))
        assert (error["__typename"], error["code"]) == ("WouldLockOutError", "WOULD_LOCK_OUT")
        assert (error["address"], error["path"]) == (OPERATOR, ["input", "address"])
    assert not AccessRule.objects.exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.0/8", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_protected(address: str) -> None:
    error = error_of(change(operator(), "blockIp", BOTH, address=address))
    assert (error["__typename"], error["code"]) == ("ProtectedTargetError", "PROTECTED_TARGET")


def test_what_is_allowed_is_protected() -> None:
    rule("198.51.100.0/24", RuleAction.ALLOW)
    error = error_of(change(operator(), "blockIp", BOTH, address="198.51.100.7"))
    assert error["code"] == "PROTECTED_TARGET"
    assert "198.51.100.0/24 is allowed" in error["message"]


@pytest.mark.parametrize("address", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "8.0.0.0/7", "2000::/31"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_very_wide_takes_force_and_a_superuser(address: str, force: bool) -> None:
    record(row(timezone.now() - timedelta(hours=1), address="9.9.9.9"))
    error = error_of(change(operator(), "blockIp", BOTH, address=address, force=force))
    assert (error["__typename"], error["code"]) == ("TooWideError", "TOO_WIDE")
    assert error["recentAddresses"] == (0 if ":" in address else 1)
    error = error_of(change(superuser(), "blockIp", BOTH, address=address))
    assert error["code"] == "TOO_WIDE"


def test_halves_of_everything_in_one_document_do_not_add_up_to_a_lock_out() -> None:
    halves = " ".join(
        f'h{n}: blockIp(input: {{address: "{half}", force: true}}) {{ errors {{ code }} }}'
        for n, half in enumerate(["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"])
    )
    answer = ask(superuser(), f"mutation {{ {halves} }}")["data"]
    codes = {name: [error["code"] for error in made["errors"]] for name, made in answer.items()}
    assert codes == {
        "h0": ["PROTECTED_TARGET"],
        "h1": ["WOULD_LOCK_OUT"],
        "h2": ["PROTECTED_TARGET"],
        "h3": [],
    }
    assert live() == {("BLOCK", "8000::/1")}


def test_what_is_blocked_already_names_the_rule() -> None:
    rule("198.51.100.0/24")
    for address in ("198.51.100.0/24", "198.51.100.7"):
        error = error_of(change(operator(), "blockIp", BOTH, address=address))
        assert (error["__typename"], error["code"]) == ("AlreadyBlockedError", "ALREADY_BLOCKED")
        assert error["rule"] == {"target": "198.51.100.0/24"}


def test_lifting_takes_the_exact_target_and_names_a_wider_one() -> None:
    rule("198.51.100.0/24")
    client = operator()
    error = error_of(change(client, "unblockIp", BOTH, address="198.51.100.7"))
    assert (error["__typename"], error["code"]) == ("NotBlockedError", "NOT_BLOCKED")
    assert error["rule"] == {"target": "198.51.100.0/24"}
    error = error_of(change(client, "unblockIp", BOTH, address="203.0.113.7"))
    assert (error["code"], error["rule"]) == ("NOT_BLOCKED", None)
    payload = change(client, "unblockIp", BOTH, address="198.51.100.0/24", reason="over")
    assert (payload["rule"]["active"], payload["errors"]) == (False, [])
    assert AuditEntry.objects.filter(action="unblock", reason="over").count() == 1
    assert live() == set()


def test_allowing_lifts_automatic_blocks_and_names_the_others() -> None:
    soon = timezone.now() + timedelta(hours=1)
    rule("8.8.8.8", origin=AccessRule.Origin.AUTOMATIC, expires_at=soon)
    rule("8.8.8.9")
    selection = f"{RULE} lifted {{ target active }} shadowedBy {{ target active }} {ERRORS}"
    payload = change(operator(), "allowIp", selection, address="8.8.8.0/24", duration="7d")
    assert payload["errors"] == []
    assert payload["rule"]["action"] == "ALLOW"
    assert payload["lifted"] == [{"target": "8.8.8.8", "active": False}]
    assert payload["shadowedBy"] == [{"target": "8.8.8.9", "active": True}]


def test_what_is_not_allowed_cannot_be_disallowed() -> None:
    error = error_of(change(operator(), "disallowIp", BOTH, address="198.51.100.7"))
    assert (error["__typename"], error["code"]) == ("InputError", "NOT_FOUND")
    assert error["path"] == ["input", "address"]


def test_the_rule_that_lets_one_in_stays_while_another_would_refuse_him() -> None:
    client = superuser()
    for mutation, address in (("allowIp", "192.0.2.0/24"), ("blockIp", "192.0.0.0/8")):
        assert change(client, mutation, BOTH, address=address)["errors"] == []
    error = error_of(change(client, "disallowIp", BOTH, address="192.0.2.0/24"))
    assert (error["code"], error["address"]) == ("WOULD_LOCK_OUT", OPERATOR)
    assert live() == {("ALLOW", "192.0.2.0/24"), ("BLOCK", "192.0.0.0/8")}


@pytest.mark.parametrize(
    ("block", "unblock", "argument", "value", "target"),
    [
        ("blockCountry", "unblockCountry", "country", "de", "DE"),
        ("blockAsn", "unblockAsn", "asn", 64496, "AS64496"),
    ],
)
def test_regions_are_blocked_and_lifted(
    block: str, unblock: str, argument: str, value: Any, target: str
) -> None:
    client = operator()
    payload = change(client, block, BOTH, **{argument: value}, duration="7d")
    assert (payload["rule"]["target"], payload["errors"]) == (target, [])
    error = error_of(change(client, block, BOTH, **{argument: value}, duration="1d"))
    assert (error["code"], error["path"]) == ("ALREADY_BLOCKED", ["input", argument])
    payload = change(client, unblock, BOTH, **{argument: value})
    assert (payload["rule"]["target"], payload["rule"]["active"]) == (target, False)
    error = error_of(change(client, unblock, BOTH, **{argument: value}))
    assert (error["code"], error["path"]) == ("NOT_BLOCKED", ["input", argument])


@pytest.mark.parametrize("asn", [0, -1, -(2**31)])
@pytest.mark.parametrize("mutation", ["blockAsn", "unblockAsn"])
def test_a_number_that_is_no_autonomous_system_is_an_error(mutation: str, asn: int) -> None:
    error = error_of(change(operator(), mutation, BOTH, asn=asn))
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "asn"])


@pytest.mark.parametrize("country", ["DEU", "D", "", "*", "ＤＥ", "Ⅾ1", "дЕ", "d" * 5000, None, 49])
def test_what_is_no_country_is_refused(country: Any) -> None:
    query = "mutation M($i: BlockCountryInput!) { blockCountry(input: $i) { errors { code } } }"
    assert refused(operator(), query, i={"country": country})[0] == "BAD_USER_INPUT"


def test_countries_are_allowed_and_disallowed() -> None:
    client = operator()
    payload = change(client, "allowCountry", BOTH, country="NL")
    assert (payload["rule"]["action"], payload["errors"]) == ("ALLOW", [])
    payload = change(client, "disallowCountry", BOTH, country="NL")
    assert (payload["rule"]["target"], payload["rule"]["active"]) == ("NL", False)
    error = error_of(change(client, "disallowCountry", BOTH, country="NL"))
    assert error["code"] == "NOT_FOUND"


def test_only_some_countries_are_let_in_until_all_are_again() -> None:
    client, selection = operator(), f"rules {{ action target active }} {ERRORS}"
    made = change(client, "allowOnlyCountries", selection, countries=["NL", "DE", "de"])
    assert [(rule["action"], rule["target"]) for rule in made["rules"]] == [
        ("ALLOW", "DE"),
        ("ALLOW", "NL"),
        ("BLOCK", "*"),
    ]
    change(client, "allowOnlyCountries", selection, countries=["FR"])
    assert live() == {("ALLOW", "FR"), ("BLOCK", "*")}
    assert change(client, "allowOnlyCountries", selection, countries=[]) == {
        "rules": [],
        "errors": [],
    }
    assert live() == set()


def test_more_countries_than_there_are_is_an_error() -> None:
    many = ["DE"] * 301
    payload = change(
        operator(), "allowOnlyCountries", f"rules {{ target }} {ERRORS}", countries=many
    )
    assert payload["rules"] == []
    assert payload["errors"][0]["path"] == ["input", "countries"]


def test_many_are_blocked_each_for_itself_and_answered_in_order() -> None:
    asked = ["198.51.100.7", "nonsense", OPERATOR, "::ffff:198.51.100.7", "203.0.113.0/24", "::/0"]
    selection = (
        "results { address rule { target }"
        " errors { code path ... on TooWideError { recentAddresses } } }"
    )
    made = change(operator(), "blockIps", f"{selection} {ERRORS}", addresses=asked, reason="list")
    assert made["errors"] == []
    codes = [[error["code"] for error in result["errors"]] for result in made["results"]]
    assert codes == [
        [],
        ["INVALID_INPUT"],
        ["WOULD_LOCK_OUT"],
        ["ALREADY_BLOCKED"],
        [],
        ["TOO_WIDE"],
    ]
    assert made["results"][1]["errors"][0]["path"] == ["input", "addresses", "1"]
    assert made["results"][1]["address"] == "'nonsense'"
    assert made["results"][5]["errors"][0]["recentAddresses"] == 0
    assert live() == {("BLOCK", "198.51.100.7"), ("BLOCK", "203.0.113.0/24")}
    made = change(operator(), "unblockIps", f"{selection} {ERRORS}", addresses=asked)
    codes = [[error["code"] for error in result["errors"]] for result in made["results"]]
    nothing = ["NOT_BLOCKED"]
    assert codes == [[], ["INVALID_INPUT"], nothing, nothing, [], nothing]
    assert live() == set()


def test_many_may_be_observed_and_about_a_path() -> None:
    selection = f"results {{ rule {{ observed path }} }} {ERRORS}"
    more = {"observed": True, "path": "/shop/"}
    made = change(operator(), "blockIps", selection, addresses=["198.51.100.7"], **more)
    assert made["results"] == [{"rule": more}]


def test_an_address_inside_a_network_of_the_same_list_is_blocked_by_that() -> None:
    asked = {"addresses": ["198.51.100.0/24", "198.51.100.7"], "duration": "1h"}
    made = change(operator(), "blockIps", f"results {{ errors {{ code }} }} {ERRORS}", **asked)
    codes = [[error["code"] for error in result["errors"]] for result in made["results"]]
    assert codes == [[], ["ALREADY_BLOCKED"]]


def test_a_thousand_fit_in_one_request_and_one_more_changes_nothing() -> None:
    client, selection = operator(), f"results {{ rule {{ target }} errors {{ code }} }} {ERRORS}"
    thousand = [f"198.18.{n // 250}.{n % 250}" for n in range(1000)]
    for mutation in ("blockIps", "unblockIps"):
        made = change(client, mutation, selection, addresses=[*thousand, "198.18.9.9"])
        assert made["results"] == []
        assert made["errors"][0]["path"] == ["input", "addresses"]
    assert not AccessRule.objects.exists()
    made = change(client, "blockIps", selection, addresses=thousand)
    assert [result["rule"]["target"] for result in made["results"]] == thousand
    assert AuditEntry.objects.filter(action="block").count() == 1000
    made = change(client, "unblockIps", selection, addresses=thousand)
    assert all(result["rule"] for result in made["results"])
    assert live() == set()


def test_hostile_items_of_a_list_are_answered_cut_and_escaped() -> None:
    asked = ["1" * 5000, "\x00", "\u202e", "198.51.100.7/255.255.255.0", "198.51.100.7/24", ""]
    selection = f"results {{ address rule {{ target }} errors {{ code }} }} {ERRORS}"
    for mutation in ("blockIps", "unblockIps"):
        client = operator()
        made = change(client, mutation, selection, addresses=asked)
        assert [result["errors"][0]["code"] for result in made["results"]] == ["INVALID_INPUT"] * 6
        assert all(len(result["address"]) < 80 for result in made["results"])


def test_blocking_needs_one_permission_and_lifting_another() -> None:
    adder = client_with("add_accessrule")
    assert change(adder, "blockIp", ERRORS, address="198.51.100.7") == {"errors": []}
    query = 'mutation { unblockIp(input: {address: "198.51.100.7"}) { errors { code } } }'
    assert refused(adder, query)[0] == "FORBIDDEN"
    query = "mutation { allowOnlyCountries(input: {countries: []}) { errors { code } } }"
    assert refused(adder, query)[0] == "FORBIDDEN"
    assert live() == {("BLOCK", "198.51.100.7")}


DRY = """blastRadius { days since complete requests addresses userCount users
    countries { country requests } } """


def recent(hours: float = 1, **columns: Any) -> Any:
    return row(timezone.now() - timedelta(hours=hours), **columns)


def test_a_dry_run_tells_whom_the_rule_would_have_hit_and_changes_nothing() -> None:
    record(
        recent(1, address="198.51.100.7", country="DE", username="ada"),
        recent(2, address="198.51.100.7", country="DE", username="ada"),
        recent(3, address="198.51.100.8", country="FR"),
        recent(4, address="198.51.100.9", verdict="LIMITED"),
        recent(5, address="203.0.113.9"),
        recent(24 * 8, address="198.51.100.10"),
    )
    client = operator()
    before = (AccessRule.objects.count(), AuditEntry.objects.count(), policy.version())
    payload = change(client, "blockIp", DRY + BOTH, address="198.51.100.0/24", dryRun=True)
    assert (payload["rule"], payload["errors"]) == (None, [])
    radius = payload["blastRadius"]
    assert radius.pop("since") < timezone.now().isoformat()
    assert radius == {
        "days": 7,
        "complete": True,
        "requests": 3,
        "addresses": 2,
        "userCount": 1,
        "users": ["ada"],
        "countries": [{"country": "DE", "requests": 2}, {"country": "FR", "requests": 1}],
    }
    policy.refresh()
    assert (AccessRule.objects.count(), AuditEntry.objects.count(), policy.version()) == before


def test_a_dry_run_tells_the_errors_and_the_radius_together() -> None:
    record(recent(address=OPERATOR))
    payload = change(operator(), "blockIp", DRY + BOTH, address="192.0.2.0/24", dryRun=True)
    assert error_of(payload)["code"] == "WOULD_LOCK_OUT"
    assert payload["blastRadius"]["requests"] == 1


def test_a_dry_run_needs_the_permission_to_read_the_record() -> None:
    client = client_with("add_accessrule")
    asked = {"address": "198.51.100.7", "dryRun": True}
    assert refused(client, BLOCK, i=asked)[0] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("mutation", "asked"),
    [("blockCountry", {"country": "DE"}), ("blockAsn", {"asn": 64500})],
)
def test_a_dry_run_of_a_region_leaves_out_whom_a_closer_rule_lets_in(
    mutation: str, asked: dict[str, Any]
) -> None:
    place = {"country": "DE", "asn": 64500}
    record(recent(address="8.8.8.8", **place), recent(address="9.9.9.9", **place), recent())
    rule("8.8.8.0/24", RuleAction.ALLOW)
    payload = change(operator(), mutation, DRY + BOTH, **asked, dryRun=True)
    assert payload["errors"] == []
    assert payload["blastRadius"]["addresses"] == 1
    assert not AccessRule.objects.filter(action="BLOCK").exists()
