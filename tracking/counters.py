"""Counters that expire: the cache backend under the rate limits.

Both are exact: of N increments at once each sees a number of its own, and incrementing a missing
counter creates it. In memory they are exact within a process, in Redis for all processes together;
while Redis is away each process goes on counting in its own memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache.backends.base import BaseCache

T = TypeVar("T")
logger = logging.getLogger(__name__)

MOST_KEYS = 100_000
DAY = 86_400
REDIS_TIMEOUT = 0.05  # seconds to connect or to answer; a request may wait for two of them
PREFIX = "tracking:"

# One trip for what would be two commands, between which a process could die and leave a counter
# that never expires.
_INCREMENT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return count
"""


class MemoryCounters(BaseCache):
    """Counters of this process; of more than `most_keys` the one begun first is forgotten."""

    def __init__(self, server: str = "", params: dict[str, Any] | None = None) -> None:
        super().__init__(params or {})
        self.most_keys = MOST_KEYS
        self._counters: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._added = threading.local()

    def add(self, key: Any, value: Any, timeout: Any = DAY, version: int | None = None) -> bool:
        self._added.timeout = timeout
        with self._lock:
            if self._current(key) is not None:
                return False
            self._begin(key, value, timeout)
        return True

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        with self._lock:
            counter = self._current(key)
            if counter is None:
                self._begin(key, delta, getattr(self._added, "timeout", DAY))
                return delta
            count = counter[0] + delta
            self._counters[key] = (count, counter[1])
        return count

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        with self._lock:
            counter = self._current(key)
        return default if counter is None else counter[0]

    def delete(self, key: Any, version: int | None = None) -> bool:
        with self._lock:
            return self._counters.pop(key, None) is not None

    def clear(self) -> None:
        with self._lock:
            self._counters.clear()

    def __len__(self) -> int:
        return len(self._counters)

    def _current(self, key: str) -> tuple[int, float] | None:
        counter = self._counters.get(key)
        return counter if counter is not None and counter[1] > time.monotonic() else None

    def _begin(self, key: str, count: int, timeout: float) -> None:
        self._counters.pop(key, None)
        while len(self._counters) >= self.most_keys:
            del self._counters[next(iter(self._counters))]
        self._counters[key] = (count, time.monotonic() + timeout)


class Breaker:
    """Keeps requests from waiting for something that does not answer.

    After a failure nobody tries for a while; then one does, and the others only if it succeeds.
    """

    def __init__(self, shortest: float = 0.5, longest: float = 5.0) -> None:
        self.shortest = shortest
        self.longest = longest
        self._pause = 0.0
        self._until = 0.0
        self._lock = threading.Lock()

    def lets_through(self) -> bool:
        if not self._pause:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until = now + self._pause
            return True

    def succeeded(self) -> None:
        self._pause = 0.0

    def failed(self) -> bool:
        """Return whether this is the first failure in a row."""
        with self._lock:
            first = not self._pause
            self._pause = min(self.longest, self._pause * 2 or self.shortest)
            self._until = time.monotonic() + self._pause
        return first


class RedisCounters(BaseCache):
    """Counters that all processes share, in Redis; in this process's memory while it is away."""

    def __init__(self, server: str, params: dict[str, Any] | None = None) -> None:
        super().__init__(params or {})
        # An optional dependency: whoever counts in memory need not have it.
        import redis  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        self.memory = MemoryCounters()
        self.breaker = Breaker()
        self._errors = (redis.RedisError, OSError)
        self._redis = redis.Redis.from_url(
            server,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        self._increment = self._redis.register_script(_INCREMENT)
        self._added = threading.local()

    def add(self, key: Any, value: Any, timeout: Any = DAY, version: int | None = None) -> bool:
        self._added.timeout = timeout
        return self._either(
            lambda: bool(self._redis.set(PREFIX + key, value, ex=timeout, nx=True)),
            lambda: self.memory.add(key, value, timeout),
        )

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        timeout = getattr(self._added, "timeout", DAY)
        return self._either(
            lambda: int(self._increment(keys=[PREFIX + key], args=[delta, timeout])),
            lambda: self.memory.incr(key, delta),
        )

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._either(
            lambda: self._number(key, default), lambda: self.memory.get(key, default)
        )

    def delete(self, key: Any, version: int | None = None) -> bool:
        self.memory.delete(key)
        return self._either(lambda: bool(self._redis.delete(PREFIX + key)), lambda: False)

    def clear(self) -> None:
        self.memory.clear()

    def _number(self, key: str, default: Any) -> Any:
        value = self._redis.get(PREFIX + key)
        return default if value is None else int(value)

    def _either(self, remote: Callable[[], T], local: Callable[[], T]) -> T:
        if self.breaker.lets_through():
            try:
                answer = remote()
            except self._errors as error:
                if self.breaker.failed():
                    logger.warning("Limits are counted in memory, since Redis fails: %s", error)
            else:
                self.breaker.succeeded()
                return answer
        return local()
