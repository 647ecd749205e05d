"""Any filter finds what the same question finds in Python."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schema.record import NOON, reader, record, row, told
from tracking.models import RequestLog

pytestmark = pytest.mark.django_db

SECONDS = st.integers(0, 3)
ADDRESSES = st.sampled_from(["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "::1"])
NETWORKS = st.sampled_from(["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1/32"])
COUNTRIES = st.sampled_from(["DE", "FR"])
METHODS = st.sampled_from(["GET", "get", "POST"])
PATHS = st.sampled_from(["/", "/a", "/A", "/a%b", "/a_b", "/ab", "/ä"])
WORDS = st.sampled_from(["sqli", "SQLI", "sql", "li", "xss"])
NAMES = st.sampled_from(["", "ada", "Ada"])
VERDICTS = st.sampled_from(["ALLOWED", "BLOCKED"])


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=2)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": SECONDS,
            "address": ADDRESSES,
            "country": COUNTRIES | st.just(""),
            "asn": st.sampled_from([None, 1, 2]),
            "method": METHODS,
            "status": st.sampled_from([200, 404, 500]),
            "path": PATHS,
            "username": NAMES,
            "operations": some(WORDS).map(tuple),
            "verdict": VERDICTS,
            "source": NAMES.filter(bool),
            "tags": some(WORDS).map(tuple),
        }
    ),
    max_size=8,
)


def written(seconds: int) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def bounds(keys: tuple[str, str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values | st.none()))


CONDITIONS = {
    "at": bounds(("gte", "lt"), SECONDS.map(written)),
    "address": ADDRESSES,
    "network": NETWORKS,
    "country": some(COUNTRIES),
    "asn": some(st.integers(0, 2)),
    "method": some(METHODS),
    "status": bounds(("gte", "lte"), st.sampled_from([-1, 200, 404, 600, 2**31 - 1])),
    "path": st.fixed_dictionaries({}, optional={"startsWith": PATHS}),
    "username": NAMES,
    "operation": WORDS,
    "verdict": some(VERDICTS),
    "source": NAMES,
    "tag": some(WORDS),
}


def filters(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    conditions: dict[str, st.SearchStrategy[Any]] = dict(CONDITIONS)
    if depth > 1:
        nested = filters(depth - 1)
        conditions |= {"AND": some(nested), "OR": some(nested), "NOT": nested}
    # Few conditions at once: with many, nothing would match.
    return st.lists(st.sampled_from(sorted(conditions)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: conditions[name] for name in names})
    )


def holds(facts: dict[str, Any], asked: dict[str, Any]) -> bool:
    """The oracle: does the filter match a row, in plain Python?"""
    return all(_holds(facts, name, value) for name, value in asked.items())


def _holds(facts: dict[str, Any], name: str, value: Any) -> bool:
    answer = ORACLE[name](facts, value) if name in ORACLE else facts[name] == value
    return bool(answer)


def during(facts: dict[str, Any], value: dict[str, str | None]) -> bool:
    at = NOON + timedelta(seconds=facts["seconds"])
    gte, lt = (value.get(key) and datetime.fromisoformat(value[key] or "") for key in ("gte", "lt"))
    return not (gte and at < gte) and not (lt and at >= lt)


def inside(facts: dict[str, Any], value: str) -> bool:
    address, network = ip_address(facts["address"]), ip_network(value)
    return address.version == network.version and address in network


def between(facts: dict[str, Any], value: dict[str, int | None]) -> bool:
    gte, lte = value.get("gte"), value.get("lte")
    return not (gte is not None and facts["status"] < gte) and not (
        lte is not None and facts["status"] > lte
    )


ORACLE: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "at": during,
    "network": inside,
    "country": lambda facts, value: facts["country"] in value,
    "asn": lambda facts, value: facts["asn"] in value,
    "method": lambda facts, value: facts["method"] in value,
    "verdict": lambda facts, value: facts["verdict"] in value,
    "status": between,
    "path": lambda facts, value: facts["path"].startswith(value.get("startsWith", "")),
    "operation": lambda facts, value: value in facts["operations"],
    "tag": lambda facts, value: not set(value).isdisjoint(facts["tags"]),
    "AND": lambda facts, value: all(holds(facts, nested) for nested in value),
    "OR": lambda facts, value: any(holds(facts, nested) for nested in value),
    "NOT": lambda facts, value: not holds(facts, value),
}


@given(facts=ROWS, asked=filters(3))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_filter_agrees_with_the_same_question_in_python(
    request: pytest.FixtureRequest, facts: list[dict[str, Any]], asked: dict[str, Any]
) -> None:
    RequestLog.objects.all().delete()
    client = getattr(request.node, "reader", None) or reader()
    request.node.reader = client
    rows = record(*[row(**{("at" if key == "seconds" else key): one[key] for key in one})
                    for one in facts])  # fmt: skip
    answer = told(
        client,
        """query Q($filter: RequestLogFilter)
           { requestLogs(filter: $filter) { nodes { id } totalCount { value exact } } }""",
        filter=asked,
    )["requestLogs"]
    expected = {saved.pk for saved, one in zip(rows, facts, strict=True) if holds(one, asked)}
    assert {decoded(node["id"]) for node in answer["nodes"]} == expected
    assert answer["totalCount"] == {"value": len(expected), "exact": True}


def decoded(id_: str) -> int:
    return int(base64.b64decode(id_).decode().removeprefix("RequestLog:"))
