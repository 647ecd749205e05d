"""Buckets of time without gaps: what a chart is drawn from."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schema.record import NOON, reader, record, refused, row, statements, told
from tracking.models import RequestLog

pytestmark = pytest.mark.django_db

STATS = """
query Q($filter: RequestLogFilter, $groupBy: [RequestDimension!]! = [], $interval: Interval,
        $top: Int! = 50) {
  requestStats(filter: $filter, groupBy: $groupBy, interval: $interval, top: $top) {
    dimensions { value } bucketStart count uniqueAddresses errorRate p50Ms p95Ms p99Ms
  }
}
"""
WIDTHS = {"MINUTE": 60, "HOUR": 3600, "DAY": 86_400}


@pytest.fixture
def client() -> Client:
    return reader()


def at(gte: datetime | None = None, lt: datetime | None = None) -> dict[str, Any]:
    ends = {"gte": gte, "lt": lt}
    return {"at": {name: end.isoformat() for name, end in ends.items() if end}}


def later(**length: float) -> datetime:
    return NOON + timedelta(**length)


def counts(client: Client, **variables: Any) -> list[tuple[str, int]]:
    """Return of each entry where its bucket begins, to the minute, and how many it counts."""
    entries = told(client, STATS, **variables)["requestStats"]
    return [(each["bucketStart"][5:16], each["count"]) for each in entries]


def test_a_span_without_requests_is_all_zeros(client: Client) -> None:
    entries = told(client, STATS, filter=at(NOON, later(minutes=3)), interval="MINUTE")
    assert entries["requestStats"] == [
        {"dimensions": [], "bucketStart": f"2026-05-17T12:0{minute}:00.000000Z", "count": 0}
        | {"uniqueAddresses": 0, "errorRate": 0, "p50Ms": None, "p95Ms": None, "p99Ms": None}
        for minute in range(3)
    ]
    nobody = at(NOON, later(minutes=3)) | {"country": []}
    assert [count for _, count in counts(client, filter=nobody, interval="MINUTE")] == [0, 0, 0]
    assert counts(client, filter=at(NOON, NOON), interval="MINUTE") == []
    assert counts(client, filter=at(later(seconds=30), NOON), interval="MINUTE") == []
    assert counts(client, filter=at(NOON, later(hours=1)), groupBy=["PATH"], interval="HOUR") == []


def test_buckets_that_the_span_cuts_count_what_is_inside(client: Client) -> None:
    record(row(-1), row(10), row(50), row(3605), row(3700))
    span = at(later(seconds=20), later(seconds=3610))
    assert counts(client, filter=span, interval="HOUR") == [("05-17T12:00", 1), ("05-17T13:00", 1)]
    assert counts(client, filter=span, interval="DAY") == [("05-17T00:00", 2)]
    assert counts(client, filter=at(NOON, later(microseconds=1)), interval="MINUTE") == [
        ("05-17T12:00", 0)
    ]


def test_an_open_end_is_now_and_an_open_beginning_the_first_request(client: Client) -> None:
    record(row(60), row(60), row(200))
    with time_machine.travel(later(minutes=5, seconds=1), tick=False):
        since = counts(client, filter=at(NOON), interval="MINUTE")
        assert since == [
            *[("05-17T12:00", 0), ("05-17T12:01", 2), ("05-17T12:02", 0)],
            *[("05-17T12:03", 1), ("05-17T12:04", 0), ("05-17T12:05", 0)],
        ]
        assert counts(client, interval="MINUTE") == since[1:]
        assert counts(client, filter=at(lt=later(minutes=4)), interval="MINUTE") == since[1:4]
        record(row(420))  # of a clock that is ahead
        assert counts(client, interval="MINUTE")[-2:] == [("05-17T12:06", 0), ("05-17T12:07", 1)]
        assert counts(client, filter={"asn": [1]}, interval="MINUTE") == []


def test_buckets_are_those_of_utc_whatever_the_clocks_of_people_do(client: Client) -> None:
    """Where Europe puts its clocks back, an hour comes twice; here there are 24 a day."""
    night = datetime.fromisoformat("2026-10-25T00:00:00+02:00")
    record(row(night + timedelta(hours=2)), row(night + timedelta(hours=3)))
    span = at(night, datetime.fromisoformat("2026-10-26T00:00:00+01:00"))
    found = counts(client, filter=span, interval="HOUR")
    assert len({start for start, _ in found}) == len(found) == 25
    assert [start for start, count in found if count] == ["10-25T00:00", "10-25T01:00"]


@pytest.mark.parametrize(
    ("filter_", "interval"),
    [
        (at(datetime(2016, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)), "MINUTE"),
        (at(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)), "DAY"),
        (at(datetime.min.replace(tzinfo=UTC)), "MINUTE"),
    ],
)
def test_a_span_of_too_many_buckets_is_refused_before_anything_is_counted(
    client: Client, filter_: dict[str, Any], interval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.questions.count_requests", lambda *_: pytest.fail("counted"))
    code, message = refused(client, STATS, filter=filter_, interval=interval)
    assert code == "QUERY_TOO_COSTLY"
    for advice in ("interval", "`at`", "fillGaps: false"):
        assert advice in message


def test_groups_times_buckets_are_bounded_and_so_are_all_fields_of_a_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.statistics.MOST_ROWS", 10)
    record(row(0, path="/a"), row(0, path="/b"))
    span = at(NOON, later(minutes=6))
    assert len(counts(client, filter=span, groupBy=["PATH"], interval="MINUTE", top=1)) == 6
    code, message = refused(client, STATS, filter=span, groupBy=["PATH"], interval="MINUTE")
    assert (code, "top" in message) == ("QUERY_TOO_COSTLY", True)
    two = """query Q($filter: RequestLogFilter) {
      requestStats(filter: $filter, interval: MINUTE) { count }
      again: requestStats(filter: $filter, interval: MINUTE, %s) { count } }"""
    told(client, two % "fillGaps: false", filter=span)
    answer = client.post(
        "/graphql/",
        {"query": two % "fillGaps: true", "variables": {"filter": span}},
        content_type="application/json",
    ).json()
    assert [error["path"] for error in answer["errors"]] == [["again"]]
    assert answer["errors"][0]["extensions"]["code"] == "QUERY_TOO_COSTLY"


def test_gaps_cost_the_database_nothing(client: Client) -> None:
    assert len(statements(client, STATS, filter=at(NOON, later(hours=99)), interval="HOUR")) == 1


@given(
    moments=st.lists(st.tuples(st.integers(-90_000, 90_000), st.sampled_from("abc")), max_size=8),
    ends=st.tuples(st.integers(-90_000, 90_000), st.integers(-90_000, 90_000)).map(sorted),
    interval=st.sampled_from(["HOUR", "DAY"]),
    is_grouped=st.booleans(),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_group_has_each_bucket_once_and_no_request_is_lost(
    client: Client,
    moments: list[tuple[int, str]],
    ends: list[int],
    interval: str,
    is_grouped: bool,
) -> None:
    RequestLog.objects.all().delete()
    record(*[row(seconds, path=path) for seconds, path in moments])
    first, last = (later(seconds=seconds) for seconds in ends)
    entries = told(
        client,
        STATS,
        filter=at(first, last),
        interval=interval,
        groupBy=["PATH"] if is_grouped else [],
    )["requestStats"]
    width = WIDTHS[interval]
    expected = Counter[tuple[str, int]]()
    inside = [each for each in moments if first <= later(seconds=each[0]) < last]
    groups = {path for _, path in inside} if is_grouped else {""}
    moment = first.timestamp() // width * width
    while moment < last.timestamp() and first < last:
        for group in groups:
            expected[group, int(moment)] += 0
        moment += width
    for seconds, path in inside:
        start = int(later(seconds=seconds).timestamp() // width * width)
        expected[path if is_grouped else "", start] += 1
    found = [
        (
            each["dimensions"][0]["value"] if is_grouped else "",
            int(datetime.fromisoformat(each["bucketStart"]).timestamp()),
        )
        for each in entries
    ]
    assert dict(zip(found, (each["count"] for each in entries), strict=True)) == dict(expected)
    for group in groups:  # together, and in order of time
        places = [place for place, (name, _) in enumerate(found) if name == group]
        assert places == list(range(places[0], places[0] + len(places))) if places else True
        assert [found[place] for place in places] == sorted(found[place] for place in places)
