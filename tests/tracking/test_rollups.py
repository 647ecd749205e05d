"""Counts by the hour say what a recount of the rows says, whatever has happened to the rows."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracking import breakdown, rollups
from tracking.breakdown import Breakdown
from tracking.engine.address import network_around, parse_address
from tracking.models import CountedHour, HourlyCount, RequestLog, Subject
from tracking.timebudget import OutOfTime, TimeBudget

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
START, END = NOON - timedelta(hours=3), NOON + timedelta(hours=1)
ADDRESSES = ("203.0.113.7", "203.0.113.8", "2001:db8::1", "198.51.100.1")


def put(
    minutes: int = 0, address: str = ADDRESSES[0], path: str = "/", **values: Any
) -> RequestLog:
    """Record a request so many minutes after noon."""
    columns: dict[str, Any] = {
        "at": NOON + timedelta(minutes=minutes),
        "address": address,
        "path": path,
        "normal_path": path,
        "status": 200,
        "duration_ms": 1.0,
        "verdict": "ALLOWED",
        "country": "DE",
    }
    return RequestLog.objects.create(**columns | values)


def recounted() -> Breakdown:
    """Count the rows one by one, without any of the code that is tested."""
    found = Breakdown()
    for row in RequestLog.objects.filter(at__gte=START, at__lt=END):
        hour = row.at.replace(minute=0, second=0, microsecond=0)
        found.times[hour, Subject.VERDICT, row.verdict] += 1
        found.times[hour, Subject.STATUS_CLASS, f"{row.status // 100}xx"] += 1
        values = {
            Subject.ADDRESS: row.address,
            Subject.NETWORK: str(network_around(parse_address(row.address))),
            Subject.COUNTRY: row.country,
            Subject.PATH: row.path[:255],
            Subject.LIMIT: row.limit or None,
        }
        for subject, value in values.items():
            if value is not None:
                found.requests[subject][value] += 1
                found.refused[subject][value] += row.verdict in {"BLOCKED", "LIMITED"}
    return found


def as_said(found: Breakdown) -> object:
    """Return the parts that count; a Counter that has zeros is equal to one that has not."""
    return (
        +found.times,
        {subject: +counter for subject, counter in found.requests.items()},
        {subject: +counter for subject, counter in found.refused.items()},
        +found.missing,
    )


ROWS = st.fixed_dictionaries(
    {
        "minutes": st.integers(-200, 70),
        "address": st.sampled_from(ADDRESSES),
        "path": st.sampled_from(["/", "/login", "/" + "long" * 100]),
        "status": st.sampled_from([200, 301, 404, 500]),
        "verdict": st.sampled_from(["ALLOWED", "BLOCKED", "LIMITED", "OBSERVED"]),
        "limit": st.sampled_from(["", "graphql", "login_address"]),
        "country": st.sampled_from(["", "DE", "FR"]),
    }
)
STEPS = st.one_of(
    st.tuples(st.just("record"), st.lists(ROWS, min_size=1, max_size=6)),
    st.tuples(st.just("forget"), st.integers(1, 4)),
    st.tuples(st.just("locate"), st.integers(1, 4)),
    st.tuples(st.just("renew"), st.just(0)),
)


def take(step: str, value: Any) -> None:
    if step == "record":
        for row in value:
            put(**row)
    elif step == "renew":
        rollups.renew()
    else:
        some = RequestLog.objects.filter(
            pk__in=list(RequestLog.objects.order_by("?").values_list("pk", flat=True)[:value])
        )
        with transaction.atomic():
            rollups.mark(some)
            if step == "forget":
                some.delete()
            else:
                some.update(country="NL")


@given(st.lists(STEPS, min_size=2, max_size=10))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_counts_equal_a_recount_after_late_rows_retention_and_located_places(
    steps: list[tuple[str, Any]],
) -> None:
    for model in (RequestLog, CountedHour, HourlyCount):
        model.objects.all().delete()
    for step, value in steps:
        take(step, value)
        assert as_said(rollups.count(START, END)) == as_said(recounted())


def test_counted_hours_are_not_read_again(django_assert_num_queries: Any) -> None:
    put()
    rollups.renew()
    RequestLog.objects.update(country="FR")  # behind the back of the counts

    assert rollups.count(START, END).requests[Subject.COUNTRY] == Counter(DE=1)


def test_an_hour_is_not_counted_while_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    put()

    def add_meanwhile(self: Breakdown, *arguments: object) -> None:
        add(self, *arguments)
        monkeypatch.undo()
        with transaction.atomic():
            rollups.mark(RequestLog.objects.all())
            RequestLog.objects.all().delete()

    add = Breakdown.add
    monkeypatch.setattr(Breakdown, "add", add_meanwhile)

    assert rollups.renew() == 0
    assert as_said(rollups.count(START, END)) == as_said(Breakdown())
    assert rollups.renew() == 1
    assert not HourlyCount.objects.exists()


def test_hours_are_made_in_order_so_that_two_who_mark_the_same_do_not_wait_for_each_other() -> None:
    with CaptureQueriesContext(connection) as asked:
        rollups.mark_hours({NOON - timedelta(hours=number) for number in range(30)})

    [made] = [query["sql"] for query in asked if query["sql"].startswith("INSERT")]
    times = re.findall(r"2026-\d\d-\d\d \d\d:", made)
    assert len(times) == 30
    assert times == sorted(times)


def test_counts_renewed_during_a_reading_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    put(minutes=-61)

    def renew_meanwhile(*arguments: Any) -> Breakdown:
        monkeypatch.undo()
        rollups.renew()
        return counted(*arguments)

    counted = rollups._counted
    monkeypatch.setattr(rollups, "_counted", renew_meanwhile)

    assert as_said(rollups.count(START, END)) == as_said(recounted())


def test_of_many_values_the_frequent_ones_are_kept_and_the_rest_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollups, "MOST_VALUES", 2)
    for path, times in (("/a", 4), ("/b", 3), ("/c", 2), ("/d", 1)):
        for _ in range(times):
            put(path=path)
    rollups.renew()
    found = rollups.count(START, END)

    assert found.requests[Subject.PATH] == Counter({"/a": 4, "/b": 3})
    assert found.missing[Subject.PATH] == 2
    assert sum(found.times.values()) == 20  # verdicts and statuses are never cut


def test_of_very_many_values_the_rare_ones_are_forgotten_and_no_more_than_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breakdown, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(breakdown, "MOST_DIFFERENT", 4)
    for number in range(30):
        verdict = "BLOCKED" if number % 3 else "ALLOWED"
        put(address=f"10.0.{number % 4}.{number}", path=f"/{number % 7 * number}", verdict=verdict)
    real = recounted()

    for _ in range(2):  # from the rows, then from the counts
        found = rollups.count(START, END)
        assert found.times == real.times
        for subject in (Subject.ADDRESS, Subject.NETWORK, Subject.PATH):
            assert found.missing[subject] or subject is Subject.NETWORK
            for value, requests in real.requests[subject].items():
                missed = requests - found.requests[subject][value]
                assert 0 <= missed <= found.missing[subject]
            assert found.refused[subject] <= real.refused[subject]
            assert len(found.requests[subject]) <= 4
        rollups.renew()


def test_counting_ends_when_its_time_is_over_though_the_rows_still_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put()
    put()
    monkeypatch.setattr(breakdown, "ROWS_AT_ONCE", 1)
    budget, counts, now = TimeBudget(60.0), breakdown._count, time.monotonic()

    def take_long(*arguments: Any) -> None:
        counts(*arguments)
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)

    with budget.spending():
        assert sum(rollups.count(START, END, budget).times.values()) == 4
        monkeypatch.setattr(breakdown, "_count", take_long)
        with pytest.raises(OutOfTime):
            rollups.count(START, END, budget)
        monkeypatch.undo()
    assert sum(rollups.count(START, END).times.values()) == 4  # the connection is as before


def test_renewing_stops_in_time_and_goes_on_later() -> None:
    for hour in range(3):
        put(minutes=-60 * hour)

    assert rollups.renew(seconds=-1) == 0
    assert as_said(rollups.count(START, END)) == as_said(recounted())
    assert rollups.renew() == 3
