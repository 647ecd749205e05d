"""Counters count exactly, however many count at once, and none lives forever or takes memory up."""

from __future__ import annotations

import multiprocessing
import threading
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests import redis_server
from tests.tracking import contenders
from tracking import counters
from tracking.counters import PREFIX, Breaker, MemoryCounters, RedisCounters

ROUNDS = 20
SPAWN = multiprocessing.get_context("spawn")
SIMULTANEOUS = 200


@pytest.fixture
def redis() -> Iterator[redis_server.Server]:
    with redis_server.running() as server:
        yield server


@pytest.fixture
def in_redis(redis: redis_server.Server, monkeypatch: pytest.MonkeyPatch) -> RedisCounters:
    monkeypatch.setattr(counters, "REDIS_TIMEOUT", contenders.PATIENT)
    return RedisCounters(redis.url, MemoryCounters())


class Clock:
    """A clock that only the test moves; in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(counters, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def passed(processes: int, redis_url: str, rates: str) -> list[int]:
    """Return how many of 200 simultaneous uses passed, in each round."""
    threads = SIMULTANEOUS // processes
    # Windows of a day: one ends in the middle of a round once in some 100,000 rounds.
    rounds = [(rates, f"round {number}") for number in range(ROUNDS)]
    answers: Queue[Any] = SPAWN.Queue()
    start = SPAWN.Barrier(processes)
    arguments = (start, answers, redis_url, threads, rounds)
    running = [SPAWN.Process(target=contenders.contend, args=arguments) for _ in range(processes)]
    for process in running:
        process.start()
    counts = [answers.get(timeout=120) for _ in running]
    for process in running:
        process.join()
    return [sum(round_) for round_ in zip(*counts, strict=True)]


@pytest.mark.parametrize("most", [1, 5, 100])
def test_of_200_at_once_exactly_the_limit_passes_in_memory(most: int) -> None:
    assert passed(1, "", f"{most}/d") == [most] * ROUNDS


@pytest.mark.parametrize("most", [1, 5, 100])
def test_of_200_at_once_in_4_processes_exactly_the_limit_passes_in_redis(
    redis: redis_server.Server, most: int
) -> None:
    assert passed(4, redis.url, f"{most}/d") == [most] * ROUNDS
    assert all(0 < redis.client.ttl(key) <= 86_405 for key in redis.client.scan_iter())


def test_300_threads_of_one_process_count_in_redis(
    redis: redis_server.Server, in_redis: RedisCounters
) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.append(in_redis.count("key", 1, 60)))
        for _ in range(300)
    ]
    redis.hang()  # so that all are waiting for an answer at the same time
    for thread in threads:
        thread.start()
    time.sleep(1)
    redis.go_on()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 301))
    assert len(in_redis.memory) == 0


def test_a_thread_may_be_interrupted_anywhere_in_the_middle_of_counting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(OrderedDict[str, tuple[int, float]]):
        def get(self, *arguments: Any) -> Any:
            found = super().get(*arguments)
            time.sleep(0.0001)  # lets another thread run
            return found

    monkeypatch.setattr(counters, "OrderedDict", Interrupted)
    memory = MemoryCounters()
    with ThreadPoolExecutor(20) as pool:
        numbers = list(pool.map(lambda _: memory.count("key", 1, 60), range(200)))
    assert sorted(numbers) == list(range(1, 201))


def forked_children(redis_url: str) -> tuple[list[int], list[int]]:
    answers: Queue[Any] = SPAWN.Queue()
    process = SPAWN.Process(target=contenders.fork_while_counting, args=(answers, redis_url, 25))
    process.start()
    result: tuple[list[int], list[int]] = answers.get(timeout=120)
    process.join()
    return result


def test_a_child_forked_while_others_count_in_memory_counts_by_itself() -> None:
    assert forked_children("") == ([], [4, 3, 2])


def test_a_child_forked_while_others_count_in_redis_has_connections_of_its_own(
    redis: redis_server.Server,
) -> None:
    assert forked_children(redis.url) == ([], [4, 3, 2])


@pytest.mark.parametrize("lifetime", [6, 65, 3605, 86_405])
def test_a_counter_in_memory_lives_as_long_as_it_is_told_and_no_longer(
    clock: Clock, lifetime: int
) -> None:
    memory = MemoryCounters()
    memory.count("key", 3, lifetime)
    clock.now += lifetime - 0.01
    assert memory.count("key", 1, lifetime) == 4  # counting does not prolong it
    clock.now += 0.02
    assert memory.count("key", 0, lifetime) == 0
    assert memory.count("key", 1, lifetime) == 1


@pytest.mark.parametrize("lifetime", [6, 65, 3605, 86_405])
def test_a_counter_in_redis_lives_as_long_as_it_is_told_and_no_longer(
    redis: redis_server.Server, in_redis: RedisCounters, lifetime: int
) -> None:
    for _ in range(3):
        in_redis.count("key", 1, lifetime)
    assert lifetime - 5 < redis.client.ttl(PREFIX + "key") <= lifetime
    redis.client.pexpire(PREFIX + "key", 1)
    time.sleep(0.01)
    assert in_redis.count("key", 1, lifetime) == 1


def test_a_counter_without_an_expiry_gets_one_when_it_is_used(
    redis: redis_server.Server, in_redis: RedisCounters
) -> None:
    redis.client.set(PREFIX + "key", 7)
    assert in_redis.count("key", 1, 60) == 8
    assert 0 < redis.client.ttl(PREFIX + "key") <= 60


def test_looking_changes_no_number(in_redis: RedisCounters) -> None:
    for some in (MemoryCounters(), in_redis):
        assert some.count("key", 0, 60) == 0
        assert some.count("key", 1, 60) == 1
        assert some.count("key", 0, 60) == 1


def test_a_deleted_counter_begins_anew(in_redis: RedisCounters) -> None:
    for some in (MemoryCounters(), in_redis):
        some.count("key", 5, 60)
        some.delete("key")
        some.delete("never counted")
        assert some.count("key", 1, 60) == 1


def test_each_use_is_one_trip_to_redis(redis: redis_server.Server, in_redis: RedisCounters) -> None:
    in_redis.count("first", 1, 60)  # connects
    redis.client.config_resetstat()
    for number in range(10):
        in_redis.count(f"key {number % 3}", 1, 60)
    asked = {name: stat["calls"] for name, stat in redis.client.info("commandstats").items()}
    from_scripts = {"cmdstat_incrby", "cmdstat_ttl", "cmdstat_expire"}
    ours = {name for name in asked if not name.startswith(("cmdstat_config", "cmdstat_info"))}
    assert ours - from_scripts == {"cmdstat_eval"}
    assert asked["cmdstat_eval"] == 10


def test_a_million_addresses_take_no_more_memory_and_time_than_the_first_ones() -> None:
    memory = MemoryCounters(most=20_000)
    spent = []
    for part in range(10):
        before = time.thread_time()
        for number in range(100_000):
            memory.count(f"{part} {number}", 1, 60)
        spent.append(time.thread_time() - before)
        assert len(memory) == 20_000
    assert max(spent[1:]) < 4 * min(spent)


def test_a_counter_takes_less_than_half_a_kilobyte() -> None:
    memory = MemoryCounters(most=10_000)
    tracemalloc.start()
    for number in range(30_000):
        memory.count(f"rl:{number:064x}", 1, 60)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken / 10_000 < 500


def test_the_oldest_counter_of_a_lifetime_goes_first_and_no_other_lifetime_pays() -> None:
    memory = MemoryCounters(most=3)
    memory.count("account", 9, 900)
    for key in "abcad":  # being used again does not make "a" younger
        memory.count(key, 1, 60)
    assert [memory.count(key, 0, 60) for key in "abcd"] == [0, 1, 1, 1]
    assert memory.count("account", 1, 900) == 10


def test_expired_counters_leave_memory_while_others_count(clock: Clock) -> None:
    memory = MemoryCounters()
    for number in range(1000):
        memory.count(str(number), 1, 60)
    clock.now += 61
    for _ in range(501):
        memory.count("one", 1, 60)
    assert len(memory) == 1


HOSTILE = [
    "",
    "\0",
    "a\0b",
    "\ud800",
    "é",
    "e\u0301",
    "{a}b",
    "* ? [x]",
    "a\r\nDEL b\r\n",
    "k" * 10**6,
]


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_keys_are_counted_in_memory(key: str) -> None:
    memory = MemoryCounters()
    assert [memory.count(key, 1, 60) for _ in range(3)] == [1, 2, 3]


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30))
def test_counting_in_memory_is_adding_up(uses: list[tuple[str, int]]) -> None:
    memory, sums = MemoryCounters(), dict.fromkeys("abc", 0)
    for key, amount in uses:
        sums[key] += amount
        assert memory.count(key, amount, 60) == sums[key]


def in_a_thread(call: Any) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


def test_a_closed_breaker_lets_everybody_through() -> None:
    breaker = Breaker()
    assert all(breaker.lets_through() for _ in range(3))
    assert not breaker.succeeded()


def test_an_open_breaker_lets_one_through_after_its_pause(clock: Clock) -> None:
    breaker = Breaker(shortest=0.5)
    assert breaker.failed()
    assert not breaker.lets_through()
    clock.now += 0.51
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    assert breaker.succeeded()
    assert all(breaker.lets_through() for _ in range(3))


def test_each_failed_trial_doubles_the_pause_up_to_the_longest(clock: Clock) -> None:
    breaker = Breaker(shortest=0.5, longest=5)
    breaker.failed()
    for pause in (0.5, 1, 2, 4, 5, 5):
        clock.now += pause - 0.01
        assert not breaker.lets_through()
        clock.now += 0.02
        assert breaker.lets_through()
        assert not breaker.failed()  # only the first failure is news


def test_what_was_under_way_when_it_opened_neither_closes_nor_prolongs_it(clock: Clock) -> None:
    breaker = Breaker(shortest=0.5, longest=5)
    breaker.failed()
    for _ in range(200):
        assert not in_a_thread(breaker.failed)
        assert not in_a_thread(breaker.succeeded)
    assert not breaker.lets_through()
    clock.now += 0.51
    assert breaker.lets_through()


def test_a_trial_nobody_hears_of_again_is_followed_by_another(clock: Clock) -> None:
    breaker = Breaker(shortest=0.5)
    breaker.failed()
    clock.now += 0.51
    assert in_a_thread(breaker.lets_through)  # and dies
    assert not breaker.lets_through()
    clock.now += 0.51
    assert breaker.lets_through()


def test_of_many_at_once_one_tries(clock: Clock) -> None:
    breaker = Breaker(shortest=0.5)
    breaker.failed()
    clock.now += 0.51
    together = threading.Barrier(100)
    let: list[bool] = []

    def ask() -> None:
        together.wait()
        let.append(breaker.lets_through())

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert let.count(True) == 1
