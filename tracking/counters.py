"""Counters that expire: what the rate limits count with.

Both kinds are exact: of N who count at once each gets a number of its own. In memory that holds
within a process, in Redis for all processes together; while Redis is away each process goes on
counting in its own memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_COUNTERS = 100_000  # of each lifetime
REDIS_TIMEOUT = 0.05  # seconds to connect or to answer; a request may wait for two of them
PREFIX = "tracking:"

# A script, since a process could die between two commands and leave a counter that never expires.
# What is no number under one of our keys was not written by us, and is replaced. It is sent whole:
# a server that was restarted or flushed would not know it by its digest.
_COUNT = """
local count = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(count) ~= 'number' then
  redis.call('SET', KEYS[1], ARGV[1])
  count = tonumber(ARGV[1])
end
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return count
"""


class MemoryCounters:
    """Counters of this process; of more than `most` with one lifetime the oldest is forgotten.

    Lifetimes are kept apart: then the oldest is also the next to expire, and a flood of new
    counters that live for a minute takes none away that live for an hour.
    """

    def __init__(self, most: int = MOST_COUNTERS) -> None:
        self._most = most
        self._by_lifetime: dict[int, OrderedDict[str, tuple[int, float]]] = {}
        self._lock = threading.Lock()

    def count(self, key: str, amount: int, lifetime: int) -> int:
        """Add to a counter and return its number; by 0 one only looks.

        A counter that is missing or older than `lifetime`, in seconds, begins at 0.
        """
        with self._lock:
            now = time.monotonic()
            counters = self._by_lifetime.setdefault(lifetime, OrderedDict())
            _forget_expired(counters, now)
            number, expires = counters.get(key, (0, 0.0))
            if expires <= now:
                number, expires = 0, now + lifetime
                counters.pop(key, None)
            if amount:
                number += amount
                counters[key] = number, expires
                if len(counters) > self._most:
                    counters.popitem(last=False)
            return number

    def delete(self, key: str) -> None:
        with self._lock:
            for counters in self._by_lifetime.values():
                counters.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._by_lifetime.clear()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._by_lifetime.values()))


def _forget_expired(counters: OrderedDict[str, tuple[int, float]], now: float) -> None:
    """Forget two that expired: more than can begin, and too few to hold a request up."""
    for _ in range(2):
        oldest = next(iter(counters), None)
        if oldest is None or counters[oldest][1] > now:
            return
        del counters[oldest]


class Breaker:
    """Keeps requests from waiting for something that does not answer.

    After a failure nobody tries for a pause in seconds; then one does, and the others once that one
    has succeeded. Each failed trial doubles the pause. What was under way when the breaker opened
    neither closes it nor makes the pause longer.
    """

    def __init__(self, shortest: float = 0.5, longest: float = 5.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._pause = 0.0  # while it is closed
        self._until = 0.0
        self._trying: int | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def lets_through(self) -> bool:
        """Return whether the caller may try; who may must say how it went."""
        if not self._pause:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until = now + self._pause
            self._trying = threading.get_ident()
            return True

    def succeeded(self) -> bool:
        """Return whether the breaker was open and this closed it."""
        if not self._pause:
            return False
        with self._lock:
            if self._trying != threading.get_ident():
                return False
            self._pause, self._until, self._trying = 0.0, 0.0, None
            return True

    def failed(self) -> bool:
        """Return whether the breaker was closed and this opened it."""
        with self._lock:
            was_closed = not self._pause
            if was_closed or self._trying == threading.get_ident():
                self._pause = min(self._longest, self._pause * 2 or self._shortest)
                self._until = time.monotonic() + self._pause
                self._trying = None
            return was_closed


class RedisAwayError(Exception):
    """Redis failed, or so short a time ago that nobody tries."""


class RedisClient:
    """A Redis that nobody waits for: it answers soon, or RedisAwayError is raised."""

    def __init__(self, url: str, work: str) -> None:
        """`work` says in the log what is done elsewhere meanwhile, as in "Limits are counted"."""
        # An optional dependency: whoever counts in memory need not have it.
        import redis  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        self.breaker = Breaker()
        self._work = work
        # The last two: a server that answers what Redis never would, an option nobody knows.
        self._errors = (redis.RedisError, OSError, ValueError, TypeError)
        self._redis = redis.Redis.from_url(
            url,
            protocol=2,  # with 3 a server may ask the client for more patience
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            max_connections=10_000,  # one for each thread; the 101st would fail by default
        )

    def ask(self, question: Callable[[Any], T]) -> T:
        """Return what `question` gets out of the client. Raises RedisAwayError."""
        if not self.breaker.lets_through():
            raise RedisAwayError
        try:
            answer = question(self._redis)
        except self._errors as error:
            if self.breaker.failed():
                logger.warning("%s in this process, since Redis fails: %s", self._work, error)
            raise RedisAwayError from error
        if self.breaker.succeeded():
            logger.warning("%s in Redis again", self._work)
        return answer


class RedisCounters:
    """Counters that all processes share, in one trip each; in `memory` while Redis is away."""

    def __init__(self, url: str, memory: MemoryCounters) -> None:
        self.memory = memory
        self._client = RedisClient(url, "Limits are counted")
        self.breaker = self._client.breaker

    def count(self, key: str, amount: int, lifetime: int) -> int:
        """Add to a counter and return its number; see MemoryCounters.count. Never raises."""
        try:
            return self._client.ask(
                lambda redis: int(redis.eval(_COUNT, 1, PREFIX + key, amount, lifetime))
            )
        except RedisAwayError:
            return self.memory.count(key, amount, lifetime)

    def delete(self, key: str) -> None:
        """Forget a counter here and in Redis; while that is away, only here."""
        self.memory.delete(key)
        with suppress(RedisAwayError):
            self._client.ask(lambda redis: redis.delete(PREFIX + key))

    def clear(self) -> None:
        """Forget what this process counted in its memory; the counters in Redis stay."""
        self.memory.clear()
