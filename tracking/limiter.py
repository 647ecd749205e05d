"""From a limit to a verdict: django-ratelimit counts, in our own counters.

Its windows have a fixed length, and begin at a moment of their own for each key; what passes around
the edge of two windows stands in docs/counting.md.
"""

from __future__ import annotations

import importlib.util
import os
import time
from functools import lru_cache
from types import ModuleType, SimpleNamespace

from tracking import conf
from tracking.counters import MemoryCounters, RedisCounters
from tracking.engine.limits import ClientClass, Limit, Rate, State
from tracking.engine.verdict import ALLOWED, Verdict, VerdictKind


def check(
    limit: Limit, client: ClientClass, key: str, *, increment: bool = True
) -> tuple[Verdict, tuple[State, ...]]:
    """Count once (or only look, with `increment` off) and return the verdict and each rate's state.

    Never raises and never waits longer than the counters' own time limit. After `retry_after` of a
    refusal the next one passes, unless others counted under the same key meanwhile.
    """
    states = tuple([_state(limit, client, rate, key, increment) for rate in limit.rates[client]])
    if not [state for state in states if state.exceeded]:
        return ALLOWED, states
    kind = VerdictKind.OBSERVED if limit.observed else VerdictKind.LIMITED
    # A rate that is used up, and not exceeded yet, would refuse the next one.
    wait = max(state.reset_after for state in states if not state.remaining)
    return Verdict(kind, limit.name, wait), states


def reset(limit: Limit, key: str) -> None:
    """Forget what was counted for a key in the windows that are open, for every class.

    Where counters are in memory this reaches this process's own; see tracking.resets.
    """
    _forget(_counters(), limit, key)


def forget(limit: Limit, key: str) -> None:
    """Do the same in the memory of this process alone, as Redis was reset by whoever decided it."""
    _forget(_memory, limit, key)


def remembers() -> bool:
    """Tell whether the memory of this process holds counters whose windows may still be open."""
    return len(_memory) > 0 and time.monotonic() < _open_until


def is_without_redis() -> bool:
    """Tell whether this process counts for itself, because the Redis of the settings is away."""
    counters = _counters()
    return isinstance(counters, RedisCounters) and counters.breaker.is_open


def _forget(counters: MemoryCounters | RedisCounters, limit: Limit, key: str) -> None:
    core = _core()
    for client, rates in limit.rates.items():
        for rate in rates:
            value = _value(client, key)
            window = core._get_window(value, rate.seconds)  # noqa: SLF001
            group, pair = ascii(limit.name), (rate.count, rate.seconds)
            counters.delete(core._make_cache_key(group, window, pair, value, core.ALL))  # noqa: SLF001


def _state(limit: Limit, client: ClientClass, rate: Rate, key: str, increment: bool) -> State:
    global _open_until
    usage = _core().get_usage(
        None,
        group=ascii(limit.name),
        key=lambda *_: _value(client, key),
        rate=(rate.count, rate.seconds),
        increment=increment,
    )
    _open_until = max(_open_until, time.monotonic() + rate.seconds)
    left = rate.count - usage["count"]
    return State(
        limit.name,
        rate,
        remaining=max(0, left),
        # The package's windows include their last second; it looks at the clock twice, and between
        # the two a window may end, or somebody set the clock.
        reset_after=min(max(usage["time_left"] + 1, 1), rate.seconds),
        exceeded=left < 0 if increment else left <= 0,
    )


def _value(client: ClientClass, key: str) -> str:
    # The package joins group, rate, value and window without anything between; a Python literal
    # says itself where it ends, and UTF-8 can write it whatever the key holds.
    return f"{client}{key!a}"


_memory = MemoryCounters()


def _counters() -> MemoryCounters | RedisCounters:
    url = conf.current().redis_url
    return _redis_at(url) if url else _memory


@lru_cache(maxsize=4)
def _redis_at(url: str) -> RedisCounters:
    return RedisCounters(url, _memory)


def _begin_anew() -> None:
    """Leave behind the locks that another thread may have held while this process was forked."""
    global _memory
    _memory = MemoryCounters()
    _redis_at.cache_clear()


os.register_at_fork(after_in_child=_begin_anew)


class _Use:
    """The cache the package sees for one use of a limit.

    The package adds, and then increments or gets; we count once, and answer all three from that.
    """

    def add(self, key: str, amount: int, lifetime: int) -> bool:
        self._number = _counters().count(key, amount, lifetime)
        return False  # so that the package asks for the number

    def incr(self, key: str) -> int:
        return self._number

    def get(self, key: str, default: int) -> int:
        return self._number


class _Caches:
    """What the package looks its cache up in."""

    def __getitem__(self, alias: str) -> _Use:
        return _Use()


@lru_cache(maxsize=1)
def _core() -> ModuleType:
    """Return a copy of the package's module that knows only our counters.

    It reads the project's settings and caches otherwise, and the project may use the package too,
    with a cache whose counting is not exact.
    """
    spec = importlib.util.find_spec("django_ratelimit.core")
    if spec is None or spec.loader is None:
        raise ImportError("django_ratelimit is not installed")
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    core.caches = _Caches()  # type: ignore[attr-defined]
    core.settings = SimpleNamespace()  # type: ignore[attr-defined]
    return core


_open_until = 0.0  # on the monotonic clock
