"""What a limit costs: one use of it, a request with it, a refusal, and a million addresses.

Everything runs in one process, in interleaved rounds; the figures are CPU time of the thread that
asks. Where there is no Redis program the lines on Redis are left out.

    python -m benchmarks.limits [--rounds 15] [--uses 2000] [--requests 400] [--addresses 1000000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

# Only after the line above, which sets Django up.
from django.core.handlers.wsgi import WSGIRequest
from django.test import override_settings
from django_ratelimit.core import is_ratelimited

from benchmarks.recording import RECORD, STARTPROJECT, compare, environ
from benchmarks.tables import show
from tests import redis_server
from tracking import guard
from tracking.counters import MemoryCounters

OFTEN = "100000000/d"  # never refused
FINISH = [*RECORD, "tracking.middleware.LimitMiddleware"]


def limits(rates: str, redis_url: str = "") -> dict[str, Any]:
    """Return settings under which the benchmark's requests are limited."""
    return {
        "TRACKING_LIMITS": {"graphql": {"all": rates, "paths": ["/articles/"]}},
        "TRACKING_REDIS_URL": redis_url,
    }


def use_ours(request: WSGIRequest) -> None:
    guard.limit(request, "graphql")


def use_peer(request: WSGIRequest) -> None:
    is_ratelimited(request, group="bench", key="ip", rate=OFTEN, increment=True)


def uses(redis_url: str) -> dict[str, tuple[Callable[[WSGIRequest], None], dict[str, Any]]]:
    found = {
        "guard.limit, in memory": (use_ours, limits(OFTEN)),
        "guard.limit, in memory, two rates": (use_ours, limits(f"{OFTEN},100000000/7d")),
        "django-ratelimit, LocMemCache": (use_peer, {}),
    }
    if redis_url:
        cache = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
        cache["default"]["LOCATION"] = redis_url
        found["guard.limit, in Redis"] = (use_ours, limits(OFTEN, redis_url))
        found["django-ratelimit, Django's RedisCache"] = (use_peer, {"CACHES": cache})
    return found


def opened(number: int) -> WSGIRequest:
    """Return a request that is on record already, as it is when a limit is used."""
    request = WSGIRequest(environ(number))
    request.META["REMOTE_ADDR"] = f"192.0.2.{number % 250}"
    guard.open(request)
    return request


def spent_on(use: Callable[[WSGIRequest], None], times: int) -> float:
    """Return microseconds of CPU for one use."""
    requests = [opened(number) for number in range(times)]
    before = time.thread_time()
    for request in requests:
        use(request)
    return (time.thread_time() - before) / times * 1e6


def compare_uses(redis: redis_server.Server | None, rounds: int, times: int) -> None:
    """Show what one use of a limit costs, and how many trips to Redis it takes."""
    candidates = uses(redis.url if redis else "")
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    trips = dict.fromkeys(candidates, 0.0)
    for _ in range(rounds):
        for name in random.sample(list(candidates), len(candidates)):
            use, changes = candidates[name]
            with override_settings(**changes):
                spent_on(use, 10)  # connects
                before = sent(redis, use)
                figures[name].append(spent_on(use, times))
                trips[name] = (sent(redis, use) - before) / times
    show(
        "uses",
        ("one use of a limit", "CPU us: min", "median", "max", "trips to Redis"),
        [
            (name, min(values), statistics.median(values), max(values), trips[name])
            for name, values in figures.items()
        ],
    )


def sent(redis: redis_server.Server | None, use: Callable[[WSGIRequest], None]) -> int:
    """Return how many commands have been sent to count with; what a script calls is no trip."""
    if redis is None:
        return 0
    names = ("eval",) if use is use_ours else ("set", "exists", "get", "incrby", "expire")
    calls = redis.client.info("commandstats")
    return sum(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def stacks(redis_url: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        "bare": {"MIDDLEWARE": STARTPROJECT},
        "record": {"MIDDLEWARE": RECORD},
        "record and limit": {"MIDDLEWARE": FINISH, **limits(OFTEN)},
        "refused": {"MIDDLEWARE": FINISH, **limits("1/7d")},
    }
    if redis_url:
        found["record and limit, in Redis"] = {"MIDDLEWARE": FINISH, **limits(OFTEN, redis_url)}
        found["refused, in Redis"] = {"MIDDLEWARE": FINISH, **limits("1/7d", redis_url)}
    return found


def rotate_addresses(addresses: int, part: int) -> None:
    """Show what ever new addresses come to in memory: counters, bytes, and time for each use."""
    memory = MemoryCounters()
    tracemalloc.start()
    taken = []
    for first in range(0, addresses, part):
        fill(memory, first, part)
        taken.append((first + part, len(memory), tracemalloc.get_traced_memory()[0] / 2**20))
    tracemalloc.stop()
    memory = MemoryCounters()  # tracing makes each use slower: the time is taken without
    show(
        "addresses",
        ("addresses seen", "counters", "MiB", "CPU us per use"),
        [(*figures, fill(memory, figures[0], part)) for figures in taken],
    )


def fill(memory: MemoryCounters, first: int, number: int) -> float:
    """Count ever new keys as long as real ones, and return microseconds of CPU for each."""
    keys = [f"rl:{key:064x}" for key in range(first, first + number)]
    before = time.thread_time()
    for key in keys:
        memory.count(key, 1, 65)
    return (time.thread_time() - before) / number * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--uses", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--addresses", type=int, default=1_000_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        redis = None
        try:
            redis_server.find_program()
        except redis_server.CannotStartError as error:
            print(f"Without Redis: {error}")
        else:
            redis = stack.enter_context(redis_server.running())
        compare_uses(redis, options.rounds, options.uses)
        compare(stacks(redis.url if redis else ""), options.rounds, options.requests)
    rotate_addresses(options.addresses, options.addresses // 10)


if __name__ == "__main__":
    main()
