"""Answers of requestStats that are kept: how long, for whom, and counted how often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from strawberry import UNSET

from schema.canonical import canonical
from schema.filters import DateTimeRange, IntRange, PathFilter, RequestLogFilter, VerdictKind
from tests import redis_server
from tests.schema.record import NOON, ask, reader, record, refused, row, statements, told
from tracking import answers, counters, questions
from tracking.statistics import Statistic, TooManyRows
from tracking.timebudget import OutOfTime, TimeBudget
from users.models import User

pytestmark = pytest.mark.one_store

LIFETIME = 10
STATS = """
query Q($filter: RequestLogFilter, $groupBy: [RequestDimension!]! = [], $interval: Interval,
        $top: Int! = 50, $fillGaps: Boolean! = true) {
  requestStats(filter: $filter, groupBy: $groupBy, interval: $interval, top: $top,
               fillGaps: $fillGaps) {
    dimensions { dimension value } bucketStart count uniqueAddresses errorRate
  }
}
"""
DAY = {"at": {"gte": "2026-05-17T00:00:00Z", "lt": "2026-05-18T00:00:00Z"}}


@pytest.fixture(autouse=True)
def kept(settings: Settings) -> Iterator[None]:
    settings.TRACKING_CACHE_TTL_STATISTICS = LIFETIME
    answers.reset()
    yield
    answers.reset()


@pytest.fixture
def client(db: None) -> Client:
    return reader()


class Clock:
    """A clock that only the test moves; in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(answers, "time", clock)
    return clock


def total(client: Client, **variables: Any) -> int:
    return sum(each["count"] for each in told(client, STATS, **variables)["requestStats"])


def test_an_answer_is_kept_as_long_as_the_setting_says(client: Client, clock: Clock) -> None:
    record(row())
    assert total(client) == 1
    record(row())
    clock.now += LIFETIME - 0.1
    assert total(client) == 1
    assert statements(client, STATS) == []
    clock.now += 0.1
    assert total(client) == 2


def test_a_lifetime_of_0_keeps_nothing(client: Client, settings: Settings) -> None:
    settings.TRACKING_CACHE_TTL_STATISTICS = 0
    assert total(client) == 0
    record(row())
    assert total(client) == 1


def test_a_kept_answer_is_the_same_to_the_letter(client: Client) -> None:
    record(row(0, path="/é\u2028"), row(60, address="2001:db8::1", status=500, duration_ms=0.1))
    asked = {"filter": DAY, "groupBy": ["PATH", "USER"], "interval": "HOUR"}
    document = STATS.replace("errorRate", "errorRate p50Ms p99Ms")
    first = ask(client, document, **asked)
    assert len(first["data"]["requestStats"]) == 48
    assert ask(client, document, **asked) == first


def test_who_may_not_ask_gets_no_kept_answer(client: Client) -> None:
    record(row())
    assert total(client) == 1
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger"))
    assert refused(stranger, STATS)[0] == "FORBIDDEN"
    assert refused(Client(), STATS)[0] == "UNAUTHENTICATED"
    User.objects.get(username="reader").user_permissions.clear()
    assert refused(client, STATS)[0] == "FORBIDDEN"


OTHERS: tuple[dict[str, Any], ...] = (
    {"filter": {"path": {"startsWith": "/a"}}},
    {"filter": {"path": {"contains": "/a"}}},
    {"filter": {"NOT": {"path": {"startsWith": "/a"}}}},
    {"filter": {"OR": [{"path": {"startsWith": "/a"}}]}},
    {"filter": {"AND": [{"path": {"startsWith": "/a"}}]}},
    {"filter": {"country": ["DE"]}},
    {"filter": {"method": ["DE"]}},
    {"filter": {"status": {"gte": 400}}},
    {"filter": {"status": {"lte": 400}}},
    {"filter": {"asn": [400]}},
    {"filter": {"username": ""}},
    {"filter": {"source": ""}},
    {"filter": {"at": {"gte": NOON.isoformat()}}},
    {"filter": {"at": {"lt": NOON.isoformat()}}},
    {"filter": {"at": {"lt": (NOON + timedelta(microseconds=1)).isoformat()}}},
    {"groupBy": ["PATH"]},
    {"groupBy": ["PATH", "METHOD"]},
    {"groupBy": ["METHOD", "PATH"]},
    {"groupBy": ["PATH"], "top": 1},
    {"interval": "DAY"},
    {"interval": "DAY", "groupBy": ["PATH"]},
)


def test_other_questions_get_other_answers(client: Client) -> None:
    for asked in ({}, *OTHERS):
        assert statements(client, STATS, **asked), asked
    percentiles = STATS.replace("count", "count p50Ms")
    assert statements(client, percentiles)
    for asked in ({}, *OTHERS):
        assert not statements(client, STATS, **asked), asked
    assert not statements(client, percentiles)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"country": None, "at": None, "NOT": None}),
        ({"country": ["de", "FR"]}, {"country": ["FR", "DE", "FR"]}),
        ({"at": {"gte": "2026-05-17T12:00:00Z"}}, {"at": {"gte": "2026-05-17T14:00:00+02:00"}}),
        ({"address": "::ffff:192.0.2.1"}, {"address": "192.0.2.1"}),
        ({"OR": [{"asn": [1]}, {"asn": [2]}]}, {"OR": [{"asn": [2]}, {"asn": [1]}]}),
    ],
)
def test_the_same_question_in_other_words_is_counted_once(
    client: Client, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert len(statements(client, STATS, filter=one)) == 1
    assert statements(client, STATS, filter=other) == []


def test_gaps_are_filled_or_left_from_one_answer(client: Client) -> None:
    record(row())
    assert len(told(client, STATS, filter=DAY, interval="HOUR")["requestStats"]) == 24
    spared = {"filter": DAY, "interval": "HOUR", "fillGaps": False}
    assert statements(client, STATS, **spared) == []
    assert len(told(client, STATS, **spared)["requestStats"]) == 1


TEXTS = st.sampled_from(["", "a", '"', "a,b", '["a"]', "null"])
NOTHING = st.sampled_from([None, UNSET])
NUMBERS = NOTHING | st.integers(0, 1)
CONDITIONS = {
    "at": NOTHING | st.builds(DateTimeRange, gte=NOTHING | st.just(NOON), lt=NOTHING),
    "status": st.builds(IntRange, gte=NUMBERS, lte=NUMBERS),
    "path": st.builds(PathFilter, starts_with=TEXTS) | st.builds(PathFilter, contains=TEXTS),
    "username": TEXTS,
    "source": NOTHING | TEXTS,
    "tag": st.lists(TEXTS, max_size=2),
    "asn": NOTHING | st.lists(st.integers(0, 1), max_size=3),
    "verdict": st.lists(st.sampled_from(VerdictKind), max_size=2),
}


def filters(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[RequestLogFilter]:
    said = st.fixed_dictionaries({}, optional=CONDITIONS | more)
    return said.map(lambda values: RequestLogFilter(**values))


FILTERS = st.recursive(
    filters(),
    lambda inside: filters(
        all_of=st.lists(inside, max_size=2), any_of=st.lists(inside, max_size=2), none_of=inside
    ),
    max_leaves=3,
)


def meaning(asked: Any) -> Any:
    """Return what a filter asks, in values that Python compares: sets for lists, nothing for null.

    Each value stands with its type, since for Python True, 1 and 1.0 are equal.
    """
    if isinstance(asked, list):
        return frozenset(meaning(each) for each in asked)
    if hasattr(asked, "__dataclass_fields__"):
        said = ((name, getattr(asked, name)) for name in asked.__dataclass_fields__)
        given = ((name, value) for name, value in said if value is not None and value is not UNSET)
        return frozenset((name, meaning(value)) for name, value in given)
    return type(asked), asked


def in_other_words(asked: Any) -> Any:
    """Return a filter that says the same: lists turned round and doubled, null for left out."""
    if isinstance(asked, list):
        return [in_other_words(each) for each in reversed(asked * 2)]
    if not hasattr(asked, "__dataclass_fields__"):
        return None if asked is UNSET else asked
    said = {name: in_other_words(getattr(asked, name)) for name in asked.__dataclass_fields__}
    return type(asked)(**said)


@given(one=FILTERS, changed=st.sampled_from(sorted(CONDITIONS)), data=st.data())
@hypothesis_settings(max_examples=60, deadline=None)
def test_filters_have_the_same_name_exactly_when_they_say_the_same(
    one: RequestLogFilter, changed: str, data: st.DataObject
) -> None:
    others = [
        replace(one, **{changed: data.draw(CONDITIONS[changed])}),
        RequestLogFilter(all_of=[one]),
        RequestLogFilter(any_of=[one]),
        RequestLogFilter(none_of=one),
    ]
    for first, second in combinations([one, *others], 2):
        assert (canonical(first) == canonical(second)) == (meaning(first) == meaning(second))
    assert canonical(one) == canonical(in_other_words(one))


class Counting:
    """Stands in for counting: waits, where told, and says how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.may_end = threading.Event()
        self.fails: list[Exception] = []
        monkeypatch.setattr(questions, "count_requests", self.count)

    def count(self, *_: object) -> list[Statistic]:
        self.times += 1
        number = self.times
        assert self.may_end.wait(30)
        if self.fails:
            raise self.fails.pop(0)
        return [Statistic((), None, number, 0, 0.0)]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    counting = Counting(monkeypatch)
    yield counting
    counting.may_end.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def in_threads(pool: ThreadPoolExecutor, number: int, client: Client) -> list[Any]:
    """Ask the same in so many threads at once; their connections go with them."""

    def one() -> Any:
        try:
            return ask(client, "{ requestStats { count } }")
        finally:
            connection.close()

    return [pool.submit(one) for _ in range(number)]


def waiting() -> int:
    """Return how many wait for somebody else's answer."""
    return sum(
        len(future._condition._waiters) for future in list(answers._answers._awaited.values())
    )


@pytest.mark.django_db(transaction=True)
def test_equal_questions_at_once_are_counted_once(counting: Counting) -> None:
    client = reader()
    with ThreadPoolExecutor(8) as pool:
        asked = in_threads(pool, 8, client)
        until(lambda: waiting() == 7)
        counting.may_end.set()
        told = {each.result()["data"]["requestStats"][0]["count"] for each in asked}
    assert (told, counting.times) == ({1}, 1)


def test_who_looked_just_before_another_was_done_counts_no_more(
    client: Client, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting.may_end.set()
    join = answers.Answers._join

    def overtaken(*asked: Any) -> Any:
        monkeypatch.setattr(answers.Answers, "_join", join)
        assert total(client) == 1
        return join(*asked)

    monkeypatch.setattr(answers.Answers, "_join", overtaken)
    assert (total(client), counting.times) == (1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfTime(), "QUERY_TOO_COSTLY"),
        (TooManyRows(), "QUERY_TOO_COSTLY"),
        (RuntimeError("boom"), "INTERNAL_SERVER_ERROR"),
    ],
)
def test_the_failure_of_one_is_not_that_of_the_others(
    counting: Counting, error: Exception, code: str
) -> None:
    client = reader()
    counting.fails = [error]
    with ThreadPoolExecutor(3) as pool:
        asked = in_threads(pool, 3, client)
        until(lambda: waiting() == 2)
        counting.may_end.set()
        told = [each.result() for each in asked]
    failed = [each["errors"][0]["extensions"]["code"] for each in told if "errors" in each]
    assert (failed, counting.times) == ([code], 2)
    others = [each["data"]["requestStats"] for each in told if "errors" not in each]
    assert others == [[{"count": 2}]] * 2


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_another_longer_than_his_own_time(
    counting: Counting, settings: Settings
) -> None:
    settings.TRACKING_QUERY_TIME_BUDGET = 0.1
    client = reader()
    with ThreadPoolExecutor(2) as pool:
        asked = in_threads(pool, 2, client)
        until(lambda: waiting() == 1)
        began = time.monotonic()
        until(lambda: any(each.done() for each in asked))
        assert time.monotonic() - began < 3  # busy machines are slow, and 30 s the longest wait
        counting.may_end.set()
        codes = [
            error["extensions"]["code"]
            for each in asked
            for error in each.result().get("errors", [])
        ]
    assert (codes, counting.times) == (["QUERY_TOO_COSTLY"], 1)


def test_memory_is_bounded(clock: Clock) -> None:
    memory = answers.MemoryAnswers(most_bytes=10_000)
    for number in range(1000):
        memory.put(f"key {number}", "x" * 500, clock.now + 1)
        memory.get("key 0")
    found = [number for number in range(1000) if memory.get(f"key {number}")]
    assert found == [0, *range(991, 1000)]
    memory.put("large", "x" * 10_000, clock.now + 1)
    assert memory.get("large") is None
    assert memory._bytes == 0 == len(memory._kept)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[redis_server.Server]:
    with redis_server.running() as server:
        yield server


@pytest.fixture
def redis(
    shared_server: redis_server.Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[redis_server.Server]:
    monkeypatch.setattr(counters, "REDIS_TIMEOUT", 5.0)  # of a busy machine, not of what is tested
    settings.TRACKING_REDIS_URL = shared_server.url
    yield shared_server
    shared_server.client.flushall()


def keys(server: redis_server.Server) -> list[bytes]:
    return list(server.client.scan_iter(f"{counters.PREFIX}answer:*"))


def in_another_process() -> None:
    """Forget what this process knows, as one that never asked."""
    answers._answers = answers.Answers()


def test_processes_share_answers_and_their_age(
    client: Client, redis: redis_server.Server, clock: Clock
) -> None:
    record(row())
    assert total(client, filter=DAY, groupBy=["PATH"]) == 1
    [key] = keys(redis)
    assert 0 < redis.client.pttl(key) <= LIFETIME * 1000
    redis.client.pexpire(key, 4000)  # as if six seconds had passed there
    record(row())
    in_another_process()
    assert total(client, filter=DAY, groupBy=["PATH"]) == 1
    redis.client.delete(key)
    clock.now += 3
    assert total(client, filter=DAY, groupBy=["PATH"]) == 1
    clock.now += 1
    assert total(client, filter=DAY, groupBy=["PATH"]) == 2


@pytest.mark.parametrize("foreign", [b"[0,[]]", b"\xff", b"x:y", b"5"])
def test_what_somebody_else_put_into_redis_is_not_believed(
    client: Client, redis: redis_server.Server, foreign: bytes
) -> None:
    record(row())
    assert total(client) == 1
    [key] = keys(redis)
    for put in (
        lambda: redis.client.set(key, foreign, px=5000),
        lambda: redis.client.set(key, redis.client.get(key)),  # ours, but for ever
        lambda: redis.client.delete(key) and redis.client.rpush(key, foreign),
    ):
        put()
        in_another_process()
        assert total(client) == 1
        assert redis.client.pttl(key) > 0


def test_an_answer_for_one_question_is_none_to_another(
    client: Client, redis: redis_server.Server, settings: Settings
) -> None:
    record(row(path="/a"), row(path="/b"))
    assert total(client) == 2
    [of_all] = keys(redis)
    assert total(client, filter={"path": {"startsWith": "/a"}}) == 1
    [of_one] = set(keys(redis)) - {of_all}
    redis.client.set(of_one, redis.client.get(of_all), px=5000)
    in_another_process()
    assert total(client, filter={"path": {"startsWith": "/a"}}) == 1
    settings.SECRET_KEY = "another installation's " * 5
    redis.client.set(of_all, redis.client.get(of_one), px=5000)
    in_another_process()
    answers.ask("anything", LIFETIME, TimeBudget(1), lambda: "1")
    assert len(keys(redis)) == 3


def test_a_process_waits_for_another_that_counts(
    client: Client, redis: redis_server.Server, counting: Counting
) -> None:
    counting.may_end.set()
    assert total(client) == 1
    [key] = keys(redis)
    found = redis.client.get(key)
    redis.client.set(key, b"", px=5000)  # another is counting
    in_another_process()
    done = threading.Timer(0.1, lambda: redis.client.set(key, found, px=5000))
    done.start()
    assert total(client) == 1
    assert counting.times == 1
    done.join()


@pytest.mark.parametrize("leaves", [0, 5000])
def test_a_process_that_died_while_it_counted_keeps_nobody_from_an_answer(
    client: Client, redis: redis_server.Server, counting: Counting, clock: Clock, leaves: int
) -> None:
    counting.may_end.set()
    assert total(client) == 1
    [key] = keys(redis)
    redis.client.set(key, b"", px=leaves or 1)
    in_another_process()
    assert total(client) == 2


def test_who_fails_lets_the_next_process_count_at_once(
    client: Client, redis: redis_server.Server, counting: Counting
) -> None:
    counting.may_end.set()
    counting.fails = [OutOfTime()]
    assert refused(client, STATS)[0] == "QUERY_TOO_COSTLY"
    assert keys(redis) == []


def test_what_is_too_large_for_redis_is_kept_in_memory(
    client: Client, redis: redis_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_SHARED_BYTES", 10)
    assert total(client) == 0
    assert keys(redis) == []
    assert statements(client, STATS) == []


@pytest.mark.parametrize("options", ["?decode_responses=true", "?nonsense=1"])
def test_an_odd_address_of_redis_fails_no_question(
    client: Client, redis: redis_server.Server, settings: Settings, options: str
) -> None:
    settings.TRACKING_REDIS_URL = redis.url + options
    record(row())
    assert (total(client), total(client)) == (1, 1)


def test_without_redis_answers_are_kept_in_memory(
    client: Client, settings: Settings, clock: Clock
) -> None:
    settings.TRACKING_REDIS_URL = f"redis://127.0.0.1:{redis_server.free_port()}/0"
    record(row())
    assert total(client) == 1
    assert statements(client, STATS) == []
    clock.now += LIFETIME
    record(row())
    assert total(client) == 2
