"""Requests counted in groups, against counting in Python."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schema.record import NOON, ask, plan_of, reader, record, refused, row, statements, told
from tracking.models import RequestLog

pytestmark = pytest.mark.django_db

STATS = """
query Q($filter: RequestLogFilter, $groupBy: [RequestDimension!]! = [], $interval: Interval,
        $top: Int! = 50, $fillGaps: Boolean! = false) {
  requestStats(filter: $filter, groupBy: $groupBy, interval: $interval, top: $top,
               fillGaps: $fillGaps) {
    dimensions { dimension value } bucketStart count uniqueAddresses errorRate
  }
}
"""


@pytest.fixture
def client() -> Client:
    return reader()


def counted(client: Client, *group_by: str, **variables: Any) -> list[tuple[Any, ...]]:
    """Return (values…, count) for each group."""
    groups = told(client, STATS, groupBy=group_by, **variables)["requestStats"]
    for group in groups:
        assert [value["dimension"] for value in group["dimensions"]] == list(group_by)
    return [
        (*[value["value"] for value in group["dimensions"]], group["count"]) for group in groups
    ]


def test_a_stranger_gets_an_error_and_no_numbers() -> None:
    assert refused(Client(), "{ requestStats { count } }")[0] == "UNAUTHENTICATED"


def test_without_dimensions_there_is_one_group_even_of_nothing(client: Client) -> None:
    [nothing] = told(client, STATS)["requestStats"]
    zero = {"dimensions": [], "bucketStart": None, "count": 0}
    assert nothing == zero | {"uniqueAddresses": 0, "errorRate": 0}
    [nothing] = told(client, STATS, filter={"country": []})["requestStats"]
    assert nothing["count"] == 0
    record(row(status=200), row(status=404), row(status=500, address="::1"), row(status=399))
    [all_of_it] = told(client, STATS)["requestStats"]
    assert all_of_it == zero | {"count": 4, "uniqueAddresses": 2, "errorRate": 0.5}


def test_with_dimensions_nothing_has_no_groups(client: Client) -> None:
    assert counted(client, "ADDRESS") == []
    assert counted(client, "ADDRESS", filter={"asn": []}) == []
    assert told(client, STATS, interval="DAY")["requestStats"] == []


@pytest.mark.parametrize(
    ("dimension", "groups"),
    [
        ("ADDRESS", {("192.0.2.1", 2), ("192.0.2.200", 1), ("2001:db8::1", 1), ("::1", 1)}),
        ("NETWORK", {("192.0.2.0/24", 3), ("2001:db8::/64", 1), ("::/64", 1)}),
        ("COUNTRY", {("DE", 2), ("FR", 1), (None, 2)}),
        ("ASN", {("4200000000", 1), ("1", 1), (None, 3)}),
        ("PATH", {("/a", 2), ("/A", 1), ("/%", 1), ("/", 1)}),
        ("METHOD", {("GET", 3), ("POST", 2)}),
        ("STATUS_CLASS", {("2xx", 3), ("4xx", 1), ("5xx", 1)}),
        ("USER", {("ada", 1), (None, 4)}),
        ("OPERATION", {("Login", 1), ("login", 2), (None, 3)}),
        ("VERDICT", {("ALLOWED", 4), ("BLOCKED", 1)}),
        ("SOURCE", {("live", 4), ("access.log", 1)}),
        ("TAG", {("sqli", 2), ('x"\\', 1), (None, 3)}),
        ("AGENT_FAMILY", {("Robot", 1), ("Chrome", 1), ("curl", 1), ("Other", 1), (None, 1)}),
    ],
)
def test_each_dimension_groups_by_what_it_says(
    client: Client, dimension: str, groups: set[tuple[str | None, int]]
) -> None:
    record(
        row(path="/a", country="DE", asn=4_200_000_000, user_agent="Mozilla/5.0 (Googlebot/2.1)"),
        row(path="/a", country="DE", method="POST", operations=("Login", "login", "login"),
            user_agent="Mozilla/5.0 Chrome/126.0 Safari/537.36", tags=("sqli",)),
        row(path="/A", address="192.0.2.200", country="FR", method="POST", status=404, asn=1,
            operations=("login",), verdict="BLOCKED", tags=('x"\\', "sqli"), user_agent="curl/8"),
        row(path="/%", address="2001:db8::1", status=503, username="ada", user_agent="?"),
        row(path="/", address="::1", source="access.log"),
    )  # fmt: skip
    assert set(counted(client, dimension)) == groups


def test_a_request_with_several_words_counts_once_for_each(client: Client) -> None:
    record(row(tags=("a", "b", "b"), status=500), row(tags=("b",), address="::1"))
    groups = told(client, STATS, groupBy=["TAG", "OPERATION"])["requestStats"]
    assert [
        (group["dimensions"][0]["value"], group["count"], group["uniqueAddresses"],
         group["errorRate"])
        for group in groups
    ] == [("b", 2, 2, 0.5), ("a", 1, 1, 1.0)]  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "starts"),
    [
        ("MINUTE", ["12:00:00", "12:01:00", "13:00:00"]),
        ("HOUR", ["12:00:00", "13:00:00"]),
        ("DAY", ["00:00:00"]),
    ],
)
def test_buckets_begin_on_whole_units_of_utc(
    client: Client, interval: str, starts: list[str]
) -> None:
    record(row(0), row(59.999999), row(60), row(3600))
    groups = told(client, STATS, interval=interval)["requestStats"]
    assert [group["bucketStart"] for group in groups] == [
        f"2026-05-17T{start}.000000Z" for start in starts
    ]
    assert sum(group["count"] for group in groups) == 4


def test_top_keeps_the_largest_groups_with_all_of_their_buckets(client: Client) -> None:
    record(
        *[row(hour * 3600, path="/often") for hour in range(4)],
        *[row(0, path="/burst")] * 3,
        row(0, path="/once"),
    )
    assert counted(client, "PATH", top=2) == [("/often", 4), ("/burst", 3)]
    groups = counted(client, "PATH", top=2, interval="HOUR")
    assert groups == [("/often", 1)] * 4 + [("/burst", 3)]


def test_the_filter_applies(client: Client) -> None:
    record(row(path="/a"), row(path="/b", status=404))
    assert counted(client, "PATH", filter={"status": {"gte": 400}}) == [("/b", 1)]


@pytest.mark.parametrize("top", [0, -1, 10_001, 2**31 - 1])
def test_a_top_outside_its_bounds_is_refused(client: Client, top: int) -> None:
    code, _ = refused(client, "query Q($top: Int!) { requestStats(top: $top) { count } }", top=top)
    assert code in {"BAD_USER_INPUT", "QUERY_TOO_COSTLY"}


@pytest.mark.parametrize(
    "group_by", [["PATH", "PATH"], ["PATH", "METHOD", "VERDICT", "SOURCE", "TAG"]]
)
def test_dimensions_twice_or_too_many_are_refused(client: Client, group_by: list[str]) -> None:
    assert refused(client, STATS, groupBy=group_by)[0] == "BAD_USER_INPUT"


def test_an_answer_of_too_many_entries_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(*[row(n * 60) for n in range(20)])
    assert len(told(client, STATS, interval="MINUTE")["requestStats"]) == 20
    monkeypatch.setattr("tracking.statistics.MOST_ROWS", 19)
    code, message = refused(client, STATS, interval="MINUTE")
    assert (code, "interval" in message) == ("QUERY_TOO_COSTLY", True)


def test_a_question_too_big_ends_in_time_and_says_what_to_narrow(
    client: Client, settings: Any
) -> None:
    settings.TRACKING_QUERY_TIME_BUDGET = 0.05
    record(*[row(n, path=f"/{n}", user_agent="x" * 500) for n in range(400)])
    columns = ", ".join(f'"{field.column}"' for field in RequestLog._meta.fields[1:])
    table = RequestLog._meta.db_table
    with connection.cursor() as cursor:
        for _ in range(6):
            cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}")
    answer = ask(client, STATS, groupBy=["PATH", "AGENT_FAMILY", "ADDRESS"], interval="MINUTE")
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_COSTLY"
    assert "narrow the filter" in error["message"]
    settings.TRACKING_QUERY_TIME_BUDGET = 30.0
    assert told(client, STATS)["requestStats"][0]["count"] == 400 * 2**6


@pytest.mark.parametrize("dimension", ["ADDRESS", "NETWORK", "TAG", "AGENT_FAMILY"])
def test_statistics_of_a_short_time_read_only_that_time(client: Client, dimension: str) -> None:
    record(*[row(n * 60, address=f"192.0.2.{n % 250}") for n in range(3000)])
    hour = {"at": {"gte": "2026-05-19T12:00:00Z", "lt": "2026-05-19T13:00:00Z"}}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    [sql] = statements(client, STATS, filter=hour, groupBy=[dimension])
    assert "requestlog_at" in plan_of(sql)


PERCENTILES = """
query Q($filter: RequestLogFilter, $groupBy: [RequestDimension!]! = [], $interval: Interval) {
  requestStats(filter: $filter, groupBy: $groupBy, interval: $interval) {
    dimensions { value } bucketStart count p50Ms p95Ms p99Ms
  }
}
"""


def test_an_unknown_duration_counts_for_no_percentile(client: Client) -> None:
    record(row(duration_ms=0), row(duration_ms=0), row(duration_ms=200))
    [of_one] = told(client, PERCENTILES)["requestStats"]
    assert of_one["count"] == 3
    for name in ("p50Ms", "p95Ms", "p99Ms"):
        assert of_one[name] == pytest.approx(200, rel=0.025)
    [unknown] = told(client, PERCENTILES, filter={"path": {"startsWith": "/no"}})["requestStats"]
    assert [unknown[name] for name in ("p50Ms", "p95Ms", "p99Ms")] == [None, None, None]
    [unknown] = told(client, PERCENTILES, filter={"country": []})["requestStats"]
    assert unknown["p50Ms"] is None


@pytest.mark.parametrize("duration", [-1.0, 1e-9, 1e300, float("inf"), float("-inf")])
def test_a_duration_nobody_could_measure_breaks_nothing(client: Client, duration: float) -> None:
    record(row(duration_ms=duration, tags=("a",)))
    for dimension in ("PATH", "TAG"):
        [group] = told(client, PERCENTILES, groupBy=[dimension])["requestStats"]
        assert group["p50Ms"] is None or 0.0009 < group["p50Ms"] < 1.1e8


@pytest.mark.parametrize(
    "document",
    [
        "query Q { requestStats { p95Ms } }",
        "query Q { requestStats { slow: p95Ms } }",
        "query Q { requestStats { count } requestStats { p95Ms } }",
        "query Q { requestStats { ... { ... on RequestStat { p95Ms } } } }",
        """
        query Q { requestStats { ...A } }
        query Other { requestStats { count } }
        fragment A on RequestStat { count ...B ...C }
        fragment B on RequestStat { count ...C }
        fragment C on RequestStat { ... { p95Ms } }
        """,
    ],
)
def test_percentiles_are_computed_however_they_are_asked_for(client: Client, document: str) -> None:
    record(row(duration_ms=80))
    body = {"query": document, "operationName": "Q"}
    answer = client.post("/graphql/", body, content_type="application/json").json()
    [group] = answer["data"]["requestStats"]
    [value] = [group[name] for name in ("p95Ms", "slow") if name in group]
    assert value == pytest.approx(80, rel=0.025)


def test_percentiles_cost_nothing_where_nobody_asks_for_them(client: Client) -> None:
    [asked], [spared] = statements(client, PERCENTILES), statements(client, STATS)
    assert ("duration_ms" in asked, "duration_ms" in spared) == (True, False)


TIMES = st.floats(0.001, 1e8) | st.just(0.0) | st.sampled_from([1.0, 1.05, 50.0, 1000.0])


@given(
    requests=st.lists(
        st.tuples(TIMES, st.sampled_from(["/a", "/b"]), st.sampled_from([(), ("x",), ("x", "x")])),
        max_size=60,
    ),
    by_word=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_percentiles_are_within_5_per_cent_of_the_exact_ones(
    client: Client, requests: list[tuple[float, str, tuple[str, ...]]], by_word: bool
) -> None:
    RequestLog.objects.all().delete()
    record(*[row(duration_ms=ms, path=path, tags=tags) for ms, path, tags in requests])
    groups: dict[str | None, list[float]] = defaultdict(list)
    for ms, path, tags in requests:
        groups[(tags[0] if tags else None) if by_word else path].append(ms)
    dimension = "TAG" if by_word else "PATH"
    answer = told(client, PERCENTILES, groupBy=[dimension])["requestStats"]
    assert len(answer) == len(groups)
    for group in answer:
        known = sorted(ms for ms in groups[group["dimensions"][0]["value"]] if ms > 0)
        for name, share in (("p50Ms", 50), ("p95Ms", 95), ("p99Ms", 99)):
            exact = known[-(-len(known) * share // 100) - 1] if known else None
            assert group[name] == (exact and pytest.approx(exact, rel=0.0251))


FACTS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.integers(0, 7_300),
            "address": st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"]),
            "status": st.sampled_from([200, 304, 404, 500]),
            "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
        }
    ),
    max_size=12,
)


def keys(facts: dict[str, Any], dimension: str) -> set[str | None]:
    address = facts["address"]
    match dimension:
        case "ADDRESS":
            return {address}
        case "NETWORK":
            length = 64 if ":" in address else 24
            return {str(ip_network(f"{address}/{length}", strict=False))}
        case "STATUS_CLASS":
            return {f"{facts['status'] // 100}xx"}
    return set(facts["tags"]) or {None}


@given(
    facts=FACTS,
    dimensions=st.permutations(["ADDRESS", "NETWORK", "STATUS_CLASS", "TAG"]),
    depth=st.integers(0, 2),
    hourly=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_numbers_agree_with_counting_in_python(
    client: Client, facts: list[dict[str, Any]], dimensions: list[str], depth: int, hourly: bool
) -> None:
    RequestLog.objects.all().delete()
    record(*[row(one["seconds"], address=one["address"], status=one["status"], tags=one["tags"])
             for one in facts])  # fmt: skip
    chosen = dimensions[:depth]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for one in facts:
        hour = NOON + timedelta(hours=one["seconds"] // 3600) if hourly else None
        places: list[tuple[Any, ...]] = [(hour,)]
        for dimension in chosen:
            places = [(*place, key) for place in places for key in keys(one, dimension)]
        for place in places:
            groups[place].append(one)
    if not chosen and not hourly:
        groups[(None,)] = facts
    expected = {
        (hour and hour.isoformat(timespec="microseconds")[:-6] + "Z", *values): (
            len(group),
            len({one["address"] for one in group}),
            sum(one["status"] >= 400 for one in group) / len(group) if group else 0,
        )
        for (hour, *values), group in groups.items()
    }
    answer = told(client, STATS, groupBy=chosen, interval="HOUR" if hourly else None)
    assert {
        (one["bucketStart"], *[value["value"] for value in one["dimensions"]]): (
            one["count"],
            one["uniqueAddresses"],
            one["errorRate"],
        )
        for one in answer["requestStats"]
    } == expected
