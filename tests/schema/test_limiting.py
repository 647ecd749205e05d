"""Limits on fields: every execution counts, by whatever road it came about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from django.test import Client
from pytest_django import Settings

from schema import documents, view
from schema.errors import USER_ERRORS, UserError
from schema.limiting import Limited
from schema.root import PreparedDocument, Schema
from tracking import drainer, limiter
from tracking.models import RequestLog

L = 5
ran: list[str] = []


@strawberry.type(description="What became of it.")
class Payload:
    done: bool | None = strawberry.field(default=None, description="Whether it was done.")
    errors: list[UserError] = strawberry.field(description="What is wrong.")


@strawberry.type(description="Something with a limited field inside.")
class Inner:
    @strawberry.field(description="Counts.", extensions=[Limited("guarded")])
    def secret(self) -> str | None:
        ran.append("secret")
        return "inner"


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(description="Counts.", extensions=[Limited("guarded")])
    def secret(self, guess: str = "") -> str | None:
        ran.append("secret")
        return "known"

    @strawberry.field(description="Counts nothing.")
    def free(self) -> str | None:
        return "free"

    @strawberry.field(description="Things with a limited field each.")
    def inner(self) -> list[Inner] | None:
        return [Inner(), Inner(), Inner()]


@strawberry.type(description="What can be changed.")
class Mutation:
    @strawberry.mutation(description="Counts.", extensions=[Limited("guarded", Payload)])
    def enter(self) -> Payload | None:
        ran.append("enter")
        return Payload(done=True, errors=[])

    @strawberry.mutation(description="Counts nothing.")
    def wave(self) -> Payload | None:
        return Payload(done=True, errors=[])


limited = Schema(query=Query, mutation=Mutation, types=USER_ERRORS, extensions=[PreparedDocument])


@pytest.fixture(autouse=True)
def limited_schema(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answer with the schema above, whose limit `guarded` is the only one."""
    settings.TRACKING_LIMITS = {"graphql": "off", "guarded": f"{L}/d"}
    monkeypatch.setattr(view, "schema", limited)
    monkeypatch.setattr(documents, "schema", limited)
    documents._read.cache_clear()
    limiter._counters().clear()
    ran.clear()
    yield
    documents._read.cache_clear()
    limiter._counters().clear()


@pytest.fixture
def unlimited_documents(settings: Settings) -> None:
    names = "body_bytes tokens aliases root_fields fields fields_per_key cost"
    settings.GRAPHQL_LIMITS = dict.fromkeys(names.split(), 10**6)


def ask(query: str, address: str = "192.0.2.1", **rest: object) -> dict[str, Any]:
    response = Client().post(
        "/graphql/",
        json.dumps({"query": query, **rest}),
        content_type="application/json",
        REMOTE_ADDR=address,
    )
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def refusals(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [error for error in answer.get("errors", []) if error["path"]]


def aliases(number: int) -> str:
    return "{" + " ".join(f'a{n}: secret(guess: "{n}")' for n in range(number)) + " free}"


def test_a_thousand_aliases_run_the_field_as_often_as_its_limit_says(
    unlimited_documents: None,
) -> None:
    answer = ask(aliases(1000))
    assert len(ran) == L
    assert list(answer["data"].values()).count("known") == L
    assert answer["data"]["free"] == "free"
    assert len(refusals(answer)) == 1000 - L


def test_a_thousand_aliases_in_many_documents_do_no_better() -> None:
    answers = [ask(aliases(5)) for _ in range(200)]
    assert len(ran) == L
    assert all(answer["data"]["free"] == "free" for answer in answers)


def test_a_document_over_its_own_limits_runs_nothing() -> None:
    answer = ask(aliases(1000))
    assert answer["errors"][0]["extensions"]["code"] == "QUERY_TOO_COSTLY"
    assert ran == []


def test_a_refusal_says_when_to_come_back_and_which_limit_it_was() -> None:
    (refusal,) = refusals(ask(aliases(L + 1)))
    assert refusal["path"] == [f"a{L}"]
    assert refusal["extensions"]["code"] == "RATE_LIMITED"
    assert refusal["extensions"]["limit"] == "guarded"
    assert 0 < refusal["extensions"]["retryAfter"] <= 86_400
    assert str(refusal["extensions"]["retryAfter"]) in refusal["message"]


def test_fragments_spread_many_times_count_each_time(unlimited_documents: None) -> None:
    spreads = " ".join(f"a{n}: inner {{...F}}" for n in range(100))
    answer = ask(f"{{{spreads}}} fragment F on Inner {{secret more: secret}}")
    assert len(ran) == L
    assert len(refusals(answer)) == 100 * 3 * 2 - L


def test_a_field_of_each_thing_in_a_list_counts_for_each() -> None:
    answer = ask("{one: inner {secret} two: inner {secret} free}")
    assert len(ran) == L
    assert answer["data"]["free"] == "free"
    assert [thing["secret"] for thing in answer["data"]["two"]] == ["inner", "inner", None]


def test_a_field_that_is_merged_runs_and_counts_once() -> None:
    ask("{secret ...F ... {secret}} fragment F on Query {secret}")
    assert len(ran) == 1


def test_a_field_that_is_skipped_does_not_count() -> None:
    ask("query Q($no: Boolean!) {secret @include(if: $no) free}", variables={"no": False})
    assert "errors" not in ask(aliases(L))


def test_each_operation_of_one_document_counts() -> None:
    document = " ".join(f"query Q{n} {{secret}}" for n in range(10))
    answers = [ask(document, operationName=f"Q{n}") for n in range(10)]
    assert len(ran) == L
    assert sum(bool(refusals(answer)) for answer in answers) == 10 - L


def test_queries_by_get_count_too() -> None:
    for _ in range(10):
        Client().get("/graphql/", {"query": "{secret}"}, REMOTE_ADDR="192.0.2.1")
    assert len(ran) == L


def test_a_mutation_carries_the_refusal_in_its_payload() -> None:
    query = (
        "mutation {%s wave {done}} fragment E on Payload"
        " {done errors {__typename code message path ... on RateLimitedError {limit retryAfter}}}"
    )
    first = ask(query % " ".join(f"a{n}: enter {{...E}}" for n in range(4)))
    second = ask(query % " ".join(f"a{n}: enter {{...E}}" for n in range(4)))
    assert "errors" not in first
    assert "errors" not in second
    assert len(ran) == L
    assert second["data"]["a0"] == {"done": True, "errors": []}
    assert second["data"]["wave"] == {"done": True}
    for name in ("a1", "a2", "a3"):
        (error,) = second["data"][name]["errors"]
        assert second["data"][name]["done"] is None
        assert error["__typename"] == "RateLimitedError"
        assert (error["code"], error["path"], error["limit"]) == ("RATE_LIMITED", None, "guarded")
        assert 0 < error["retryAfter"] <= 86_400


def test_mutations_and_queries_share_a_limit_of_one_name() -> None:
    ask("mutation {a: enter {done} b: enter {done} c: enter {done}}")
    ask(aliases(5))
    assert ran == ["enter"] * 3 + ["secret"] * 2


def test_addresses_are_counted_apart_and_an_ipv6_network_together() -> None:
    for n in range(1, 4):
        ask(aliases(4), f"192.0.2.{n}")
    assert len(ran) == 12
    ran.clear()
    for n in range(1, 41):
        ask("{secret}", f"2001:db8::{n:x}")
    assert len(ran) == L


def test_an_observed_limit_refuses_nothing(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "guarded": {"all": f"{L}/d", "observed": True}}
    assert "errors" not in ask(aliases(10))
    assert len(ran) == 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("observed", "verdict"), [(False, "LIMITED"), (True, "OBSERVED")])
def test_the_verdict_goes_on_record_with_the_limits_name(
    observed: bool, verdict: str, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {
        "graphql": "off",
        "guarded": {"all": f"{L}/d", "observed": observed},
    }
    ask(aliases(L))
    ask(aliases(1))
    drainer.drain()
    rows = RequestLog.objects.order_by("pk").values_list("verdict", "limit", "status")
    assert list(rows) == [("ALLOWED", "", 200), (verdict, "guarded", 200)]


def test_a_payload_that_needs_more_than_errors_is_told_at_start() -> None:
    with pytest.raises(TypeError, match="done"):
        Limited("guarded", lambda *, done, errors: None)


def test_a_limit_that_is_in_no_table_is_our_fault(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    (error,) = refusals(ask("{secret free}"))
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert ran == []
    assert "guarded" in caplog.text
