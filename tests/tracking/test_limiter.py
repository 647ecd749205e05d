"""What passes a limit: windows and their edges, keys, clocks, and the package that counts."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import django_ratelimit.core as package
import pytest
import time_machine
from django.core.cache import caches
from django.test import Client, RequestFactory
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from tracking import limiter
from tracking.counters import MemoryCounters
from tracking.engine.limits import ClientClass, Key, Limit, State, by_class, for_all
from tracking.engine.verdict import Verdict, VerdictKind

ANONYMOUS = ClientClass.ANONYMOUS
NOW = 1_800_000_000.0  # seconds since 1970; most windows begin and end elsewhere


@pytest.fixture(autouse=True)
def nothing_counted_yet() -> Iterator[None]:
    limiter._memory.clear()
    yield
    limiter._memory.clear()


@pytest.fixture(autouse=True)
def no_window_ends_in_the_middle() -> Iterator[None]:
    """Windows are the package's own here; every test finds them where they stand at NOW."""
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(NOW, tick=False) as coordinates:
        yield coordinates


def limit(rates: str, name: str = "tested", *, observed: bool = False) -> Limit:
    return Limit(name, Key.CALLER, for_all(rates), observed=observed)


def use(rates: str, key: str = "key") -> Verdict:
    return limiter.check(limit(rates), ANONYMOUS, key)[0]


def state(rates: str, key: str = "key") -> State:
    """Look at the (first) rate without counting."""
    return limiter.check(limit(rates), ANONYMOUS, key, increment=False)[1][0]


def go_to_end_of_window(clock: time_machine.Coordinates, rates: str, key: str = "key") -> None:
    """Go to the last moment of the window that is open."""
    clock.shift(state(rates, key).reset_after - 0.001)
    assert state(rates, key).reset_after == 1


@pytest.mark.parametrize("rates", ["5/s", "5/10s", "5/m", "5/15m", "5/h", "5/d", "5/7d"])
def test_exactly_the_limit_passes_in_a_window(clock: time_machine.Coordinates, rates: str) -> None:
    go_to_end_of_window(clock, rates)
    clock.shift(0.001)
    assert state(rates).reset_after == limit(rates).rates[ANONYMOUS][0].seconds
    assert [use(rates).refused for _ in range(3)] == [False] * 3
    go_to_end_of_window(clock, rates)
    assert [use(rates).refused for _ in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("rates", ["5/s", "5/10s", "5/m", "5/15m", "5/h", "5/d"])
def test_around_the_edge_of_a_window_twice_the_limit_passes_and_no_more(
    clock: time_machine.Coordinates, rates: str
) -> None:
    go_to_end_of_window(clock, rates)
    assert [use(rates).refused for _ in range(6)].count(False) == 5
    clock.shift(0.002)
    assert [use(rates).refused for _ in range(6)].count(False) == 5


@hypothesis_settings(deadline=None)
@given(st.lists(st.floats(0, 30, allow_nan=False), max_size=60), st.integers(1, 4))
def test_in_no_stretch_as_long_as_a_window_more_than_twice_the_limit_passes(
    moments: list[float], most: int
) -> None:
    limiter._memory.clear()
    passed = []
    for moment in sorted(moments):
        with time_machine.travel(NOW + moment, tick=False):
            if not use(f"{most}/10s").refused:
                passed.append(moment)
    for begin in passed:
        assert sum(begin <= moment < begin + 10 for moment in passed) <= 2 * most


@hypothesis_settings(deadline=None)
@given(st.floats(0, 86_400 * 8), st.text(max_size=5), st.sampled_from(["s", "7s", "m", "h", "d"]))
def test_after_the_time_to_wait_the_next_one_passes_and_just_before_it_does_not(
    moment: float, key: str, window: str
) -> None:
    limiter._memory.clear()
    rates = f"1/{window}"
    with time_machine.travel(NOW + moment, tick=False) as clock:
        use(rates, key)
        refusal = use(rates, key)
        assert refusal.retry_after >= 1
        clock.shift(refusal.retry_after - 1)
        assert use(rates, key).refused
        clock.shift(1)
        assert not use(rates, key).refused


def test_the_time_to_wait_covers_every_rate_that_would_refuse_next(
    clock: time_machine.Coordinates,
) -> None:
    rates = "2/m,3/h"
    assert [use(rates).refused for _ in range(3)] == [False, False, True]
    refusal = use(rates)  # the hour is used up as well now
    clock.shift(refusal.retry_after)
    assert not use(rates).refused


def test_a_rate_that_is_used_up_while_a_shorter_one_refuses_counts_for_the_wait(
    clock: time_machine.Coordinates,
) -> None:
    rates = "2/10s,3/h"
    *_, refusal = (use(rates) for _ in range(3))  # 3 of 2 and 3 of 3
    assert refusal.refused
    clock.shift(refusal.retry_after)
    assert not use(rates).refused


@pytest.mark.parametrize("most", [1, 5, 100])
def test_of_200_requests_at_once_exactly_the_limit_is_answered_and_none_fills_the_log(
    settings: Settings, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIDDLEWARE = [
        "tracking.middleware.VisitMiddleware",
        "tracking.middleware.LimitMiddleware",
    ]
    settings.ROOT_URLCONF = "tests.tracking.app"
    settings.TRACKING_LIMITS = {"graphql": {"all": f"{most}/d", "paths": ["/status/"]}}
    together = threading.Barrier(200)

    def ask(_: int) -> int:
        together.wait()
        return Client().get("/status/200/").status_code

    with ThreadPoolExecutor(200) as pool:
        answers = Counter(pool.map(ask, range(200)))
    assert answers == {200: most, 429: 200 - most}
    assert caplog.messages == []


class TwoClocks:
    """A clock that says one thing when the package asks first, and another the second time."""

    def __init__(self, *times: float) -> None:
        self._times = iter(times)

    def time(self) -> float:
        return next(self._times)


@pytest.mark.parametrize("later", [1, 60, 86_400, -1, -3600, -86_400])
def test_a_clock_that_moves_during_a_use_gives_a_time_to_wait_within_the_window(
    monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    for moment in range(60):
        monkeypatch.setattr(limiter._core(), "time", TwoClocks(NOW + moment, NOW + moment + later))
        _, (seen,) = limiter.check(limit("1/m"), ANONYMOUS, "key")
        assert 1 <= seen.reset_after <= 60


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=1), timedelta(days=-400)])
@pytest.mark.parametrize("rates", ["3/s", "3/m", "3/h", "3/d"])
def test_a_clock_that_is_set_neither_ends_a_limit_nor_makes_one_eternal(
    clock: time_machine.Coordinates, rates: str, jump: timedelta
) -> None:
    assert [use(rates).refused for _ in range(4)] == [False] * 3 + [True]
    clock.shift(jump)
    seen = [use(rates) for _ in range(8)]
    assert [verdict.refused for verdict in seen].count(False) <= 3
    assert seen[-1].refused
    assert 1 <= seen[-1].retry_after <= limit(rates).rates[ANONYMOUS][0].seconds
    verdict = seen[-1]
    for _ in range(2):  # set back, it comes once more to the window in which the limit was used up
        clock.shift(verdict.retry_after)
        verdict = use(rates)
    assert not verdict.refused


def test_a_counter_that_vanishes_between_two_uses_begins_anew() -> None:
    for _ in range(6):
        verdict = use("5/m")
    assert verdict.refused
    limiter._memory.clear()
    verdict, (seen,) = limiter.check(limit("5/m"), ANONYMOUS, "key")
    assert (verdict.kind, seen.remaining) == (VerdictKind.ALLOWED, 4)
    assert 1 <= seen.reset_after <= 60


def test_looking_counts_nothing_and_tells_what_the_next_use_would_get() -> None:
    for used in range(4):
        assert (state("3/d").remaining, state("3/d").exceeded) == (3 - used, used == 3)
        use("3/d")
    assert len(limiter._memory) == 1
    assert state("3/d", "never used").remaining == 3
    assert len(limiter._memory) == 1


def test_an_observed_limit_refuses_nobody_and_says_what_it_would_have_done() -> None:
    observed = limit("1/d", observed=True)
    limiter.check(observed, ANONYMOUS, "key")
    verdict, _ = limiter.check(observed, ANONYMOUS, "key")
    assert verdict.kind is VerdictKind.OBSERVED
    assert not verdict.refused
    assert verdict.retry_after >= 1


def test_a_limit_that_is_off_counts_nothing() -> None:
    assert not any(use("off").refused for _ in range(100))
    assert len(limiter._memory) == 0


def test_a_reset_reaches_the_open_windows_of_every_rate_and_class() -> None:
    tested = Limit("tested", Key.CALLER, by_class("1/m,2/h", "1/m", "3/d"))
    for client in ClientClass:
        for _ in range(5):
            limiter.check(tested, client, "key")
            limiter.check(tested, client, "another")
    limiter.reset(tested, "key")
    for client in ClientClass:
        assert not limiter.check(tested, client, "key")[0].refused
        assert limiter.check(tested, client, "another")[0].refused


class Recorder(MemoryCounters):
    """Remembers under which keys it was asked to count, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.lifetimes: list[int] = []

    def count(self, key: str, amount: int, lifetime: int) -> int:
        self.keys.append(key)
        self.lifetimes.append(lifetime)
        return super().count(key, amount, lifetime)


TRICKY = st.text("a'\"\\|/:5601sm\0é\ud800", max_size=8) | st.text(max_size=8)
USES = st.tuples(
    TRICKY, st.sampled_from(ClientClass), TRICKY, st.integers(1, 600), st.sampled_from("smhd")
)


def counted_under(use: tuple[str, ClientClass, str, int, str]) -> str:
    """Return the key of the counter, in windows that all begin at the same time."""
    name, client, key, count, unit = use
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiter, "_memory", recorder)
        patch.setattr(limiter._core(), "_get_window", lambda value, period: 60)
        limiter.check(limit(f"{count}/{unit}", name), client, key)
    return recorder.keys[0]


@hypothesis_settings(deadline=None)
@given(USES, USES)
@example(("a", ANONYMOUS, "1", 5, "m"), ("a", ANONYMOUS, "160", 5, "m"))
@example(("a5/60s", ANONYMOUS, "b", 5, "m"), ("a", ANONYMOUS, "5/60sb", 5, "m"))
@example(("a|", ANONYMOUS, "b", 5, "m"), ("a", ANONYMOUS, "|b", 5, "m"))
@example(("a", ANONYMOUS, "\ud800", 5, "m"), ("a", ANONYMOUS, "\\ud800", 5, "m"))
@example(("a", ANONYMOUS, "é", 5, "m"), ("a", ANONYMOUS, "\\xe9", 5, "m"))
@example(("a", ANONYMOUS, "'", 5, "m"), ("a", ANONYMOUS, '"', 5, "m"))
def test_two_uses_share_a_counter_only_when_all_about_them_is_the_same(
    one: tuple[str, ClientClass, str, int, str], other: tuple[str, ClientClass, str, int, str]
) -> None:
    assert (counted_under(one) == counted_under(other)) == (one == other)


@pytest.mark.parametrize("key", ["", "\0", "\ud800", "\U0010ffff", "'", "\\", "k" * 10**6])
def test_hostile_keys_are_limited_under_names_of_bounded_length(key: str) -> None:
    assert [use("2/d", key).refused for _ in range(3)] == [False, False, True]
    assert len(counted_under(("tested", ANONYMOUS, key, 2, "d"))) < 100
    limiter.reset(limit("2/d"), key)
    assert not use("2/d", key).refused


@pytest.fixture
def own_use(settings: Settings) -> Iterator[Any]:
    """A project that uses django-ratelimit itself, with settings of its own."""
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "own"}
    settings.CACHES = {"default": {"BACKEND": memory["BACKEND"]}, "own": memory}
    settings.RATELIMIT_USE_CACHE = "own"
    settings.RATELIMIT_CACHE_PREFIX = "own:"
    settings.RATELIMIT_IP_META_KEY = "HTTP_X_OWN"
    caches["own"].clear()
    request = RequestFactory().get("/", headers={"X-Own": "192.0.2.1"})

    def count() -> int:
        usage = package.get_usage(request, group="tested", key="ip", rate="5/d", increment=True)
        return int(usage["count"])

    yield count
    caches["own"].clear()


def test_a_projects_own_use_of_the_package_and_ours_do_not_meet(
    own_use: Any, settings: Settings
) -> None:
    assert own_use() == 1
    use("5/d", "192.0.2.1")
    assert own_use() == 2
    assert {key.split(":")[2] for key in caches["own"]._cache} == {"own"}
    assert len(limiter._memory) == 1
    assert state("5/d", "192.0.2.1").remaining == 4
    limiter.reset(limit("5/d"), "192.0.2.1")
    limiter._memory.clear()
    assert own_use() == 3
    settings.RATELIMIT_ENABLE = False  # theirs, not ours
    settings.RATELIMIT_FAIL_OPEN = True
    assert [use("1/d").refused for _ in range(2)] == [False, True]
    assert package.caches is caches


def test_the_package_still_has_what_our_copy_of_it_relies_on() -> None:
    """A new version that fails here needs tracking/limiter.py to be read again beside its core."""

    def parameters(name: str) -> list[str]:
        return list(inspect.signature(getattr(package, name)).parameters)

    assert parameters("_get_window") == ["value", "period"]
    assert parameters("_make_cache_key") == ["group", "window", "rate", "value", "methods"]
    assert {"group", "key", "rate", "increment"} <= set(parameters("get_usage"))
    assert {"caches", "settings", "time"} <= set(vars(package))


def test_the_package_counts_in_one_step_of_our_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(limiter, "_memory", recorder)
    for number in range(1, 4):
        use("5/d")
        assert len(recorder.keys) == number
    assert len(set(recorder.keys)) == 1


def test_a_counter_lives_a_little_longer_than_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(limiter, "_memory", recorder)
    for rates in ("1/s", "1/m", "1/h", "1/d", "1/30d"):
        use(rates)
    assert recorder.lifetimes == [6, 65, 3605, 86_405, 30 * 86_400 + 5]


def test_a_process_remembers_while_it_holds_a_counter_of_an_open_window() -> None:
    use("5/h")
    assert limiter.remembers()
    limiter.forget(limit("5/h"), "key")
    assert not limiter.remembers()
