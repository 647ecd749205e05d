"""Why a request is let in or refused, asked over GraphQL."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from schema import explain
from tests.schema.book import client_with, rule
from tests.schema.record import record, refused, row, told
from tracking.engine.rules import RuleAction
from tracking.timebudget import TimeBudget

pytestmark = pytest.mark.django_db

QUERY = """query Q($address: IPAddress, $path: String! = "/", $method: String! = "GET",
        $reference: ID) {
    explain(address: $address, path: $path, method: $method, reference: $reference) {
        address scope place { country } path method verdict because rule { target } limit
        steps { rule { target action } effect because }
        limits { name applies observed states { policy remaining } }
        remedies
        history { counts { verdict requests } recent { path rule { target } } }
        recorded { path verdict rule { target } } } }"""


def viewer() -> Client:
    return client_with("view_requestlog", "view_accessrule")


def explained(**asked: Any) -> dict[str, Any]:
    found = told(viewer(), QUERY, **asked)["explain"]
    return dict(found)


def test_explaining_needs_both_permissions() -> None:
    asked = {"address": "198.51.100.7"}
    assert refused(Client(), QUERY, **asked)[0] == "UNAUTHENTICATED"
    assert refused(client_with("view_requestlog"), QUERY, **asked)[0] == "FORBIDDEN"
    assert refused(client_with("view_accessrule"), QUERY, **asked)[0] == "FORBIDDEN"


def test_the_whole_trace_is_told(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "9/m", "login_address": "off", "signup": "off"}
    made = rule("198.51.100.0/24")
    rule("198.51.0.0/16", RuleAction.ALLOW)
    facts = {"address": "198.51.100.7", "verdict": "BLOCKED", "rule_id": made.pk}
    record(row(timezone.now(), path="/seen/", **facts))
    found = explained(address="::ffff:198.51.100.7", path="/graphql/?q=1", method="post")
    because = found.pop("because")
    assert because.startswith(f"Rule {made.pk} (BLOCK 198.51.100.0/24) refuses it")
    assert [step.pop("because") != "" for step in found["steps"]] == [True, True]
    assert any('unblockIp(input: {address: "198.51.100.0/24"})' in r for r in found["remedies"])
    del found["remedies"]
    assert found == {
        "address": "198.51.100.7",
        "scope": "DOCUMENTATION",
        "place": None,
        "path": "/graphql/",
        "method": "POST",
        "verdict": "BLOCKED",
        "rule": {"target": "198.51.100.0/24"},
        "limit": None,
        "steps": [
            {"rule": {"target": "198.51.100.0/24", "action": "BLOCK"}, "effect": "DECIDES"},
            {"rule": {"target": "198.51.0.0/16", "action": "ALLOW"}, "effect": "OUTRANKED"},
        ],
        "limits": [
            {
                "name": "graphql",
                "applies": True,
                "observed": False,
                "states": [{"policy": "9/m", "remaining": 9}],
            }
        ],
        "history": {
            "counts": [{"verdict": "BLOCKED", "requests": 1}],
            "recent": [{"path": "/seen/", "rule": {"target": "198.51.100.0/24"}}],
        },
        "recorded": None,
    }


def test_a_reference_is_explained_as_it_was_and_as_it_is() -> None:
    made = rule("198.51.100.7", path="/shop/")
    reference = "ab" * 16
    facts = {"address": "198.51.100.7", "verdict": "BLOCKED", "rule_id": made.pk}
    record(row(path="/shop/%20", request_id=reference, **facts))
    found = explained(reference=reference)
    assert found["recorded"] == {
        "path": "/shop/%20",
        "verdict": "BLOCKED",
        "rule": {"target": "198.51.100.7"},
    }
    assert (found["path"], found["verdict"]) == ("/shop/ ", "BLOCKED")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"address": None, "reference": None},
        {"address": "198.51.100.7", "reference": "ab" * 16},
        {"reference": "ab" * 16},
        {"reference": "x" * 5000},
        {"reference": ""},
        {"address": "1" * 5000},
        {"address": "198.51.100.0/24"},
        {"address": "198.51.100.7", "path": "/" + "a" * 5000},
        {"address": "198.51.100.7", "path": "shop"},
        {"address": "198.51.100.7", "path": "/\x00"},
        {"address": "198.51.100.7", "method": "GET POST"},
        {"address": "198.51.100.7", "method": "ＧＥＴ"},
    ],
    ids=lambda asked: str(asked)[:60],
)
def test_what_cannot_be_explained_is_refused(asked: dict[str, Any]) -> None:
    assert refused(viewer(), QUERY, **asked)[0] == "BAD_USER_INPUT"


def test_without_time_to_ask_the_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "budget_of", lambda _: TimeBudget(0))
    assert refused(viewer(), QUERY, address="198.51.100.7")[0] == "QUERY_TOO_COSTLY"
