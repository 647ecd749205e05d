"""Answers that are kept for a while, so that equal questions are put to the database once.

An answer is looked for in the memory of this process, then in the Redis that all processes share
(where there is one), then found out. Of those who ask the same at once one finds out, and the
others wait for him. What fails is told to whom it failed and never kept. Without Redis, or while it
is away, each process keeps its own: no question fails for it.

Who may ask is not looked at here: look before, and make what depends on it a part of the question.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from django.core.signing import BadSignature, Signer
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.crypto import salted_hmac

from tracking import conf
from tracking.counters import PREFIX, RedisAwayError, RedisClient
from tracking.readers import MIB
from tracking.timebudget import OutOfTime, TimeBudget

MOST_BYTES = 32 * MIB  # of all answers in the memory of a process
ENTRY_BYTES = 500  # what an answer takes there besides its text
MOST_SHARED_BYTES = 256 * 1024  # of one answer in Redis; larger ones stay in memory
LOOK_SECONDS = 0.02  # between two looks whether another process has found out
SALT = "tracking.answers"

# An empty text stands where somebody is finding out; the first who finds nothing puts it there, and
# gets a word that no signed answer is. What is no text was not written by us.
_TAKE = """
local kept = redis.pcall('GET', KEYS[1])
if type(kept) ~= 'string' then
  redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
  return {'yours', ARGV[1]}
end
return {kept, redis.call('PTTL', KEYS[1])}
"""


def ask(question: object, lifetime: float, budget: TimeBudget, find: Callable[[], str]) -> str:
    """Return the answer to a question, at most `lifetime` seconds old; `find` finds it out.

    `question` is anything that JSON can write, and says all that the answer depends on. An answer
    that takes longer than its lifetime is shared by those who wait for it. Waiting for others is
    charged to the budget; raises OutOfTime when that is used up, and what `find` raises.
    """
    return _answers.ask(_key_of(question, lifetime), lifetime, budget, find)


def reset() -> None:
    """Forget what this process keeps; a forked child must leave locks of other threads behind."""
    global _answers
    _answers = Answers()
    _redis_at.cache_clear()


class MemoryAnswers:
    """Answers of this process; when they take too much, those go that nobody asked for longest."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        with self._lock:
            answer, until = self._kept.get(key, ("", 0.0))
            if until <= time.monotonic():
                return None
            self._kept.move_to_end(key)
            return answer

    def put(self, key: str, answer: str, until: float) -> None:
        """Keep an answer until a moment of the monotonic clock."""
        with self._lock:
            self._drop(key)
            self._kept[key] = answer, until
            self._bytes += len(answer) + ENTRY_BYTES
            while self._bytes > self._most:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if key in self._kept:
            answer, _ = self._kept.pop(key)
            self._bytes -= len(answer) + ENTRY_BYTES


class RedisAnswers:
    """Answers that all processes share, signed, so that nobody else can put one there."""

    def __init__(self, url: str) -> None:
        self._client = RedisClient(url, "Answers are kept")

    def take(self, key: str, patience: float) -> tuple[str, float] | None:
        """Return an answer and how many seconds it may still be kept; None: find it out.

        Waits `patience` seconds for another process that is finding out. Never raises.
        """
        deadline = time.monotonic() + patience
        with suppress(RedisAwayError):
            kept, left = self._client.ask(lambda redis: _look(redis, key))
            while kept == b"" and time.monotonic() + LOOK_SECONDS < deadline:
                time.sleep(LOOK_SECONDS)
                kept, left = self._client.ask(lambda redis: _look(redis, key))
            # What has no end was not written by us.
            if left > 0 and (answer := _verified(key, kept)):
                return answer, left
        return None

    def put(self, key: str, answer: str, lifetime: float) -> None:
        """Keep an answer for so many seconds, or tell others that there is none to wait for."""
        milliseconds = int(lifetime * 1000)
        with suppress(RedisAwayError):
            if milliseconds > 0 and 0 < len(answer) <= MOST_SHARED_BYTES:
                signed = Signer(salt=key).sign(answer)
                self._client.ask(lambda redis: redis.set(key, signed, px=milliseconds))
            else:
                self._client.ask(lambda redis: redis.delete(key))


class Answers:
    """What is kept in this process and in Redis, and what is being found out here."""

    def __init__(self) -> None:
        self._memory = MemoryAnswers()
        self._awaited: dict[str, Future[str | None]] = {}
        self._lock = threading.Lock()

    def ask(self, key: str, lifetime: float, budget: TimeBudget, find: Callable[[], str]) -> str:
        while True:
            answer = self._memory.get(key)
            if answer is None:
                awaited, is_first = self._join(key)
                if is_first:
                    return self._lead(key, lifetime, budget, find)
                answer = _waited(awaited, budget)
            if answer is not None:
                return answer

    def _join(self, key: str) -> tuple[Future[str | None], bool]:
        with self._lock:
            is_first = key not in self._awaited
            return self._awaited.setdefault(key, Future()), is_first

    def _lead(self, key: str, lifetime: float, budget: TimeBudget, find: Callable[[], str]) -> str:
        answer = None
        try:
            # Somebody may have been done between our look into the memory and our turn.
            answer = self._memory.get(key) or self._found(key, lifetime, budget, find)
            return answer
        finally:
            with self._lock:
                awaited = self._awaited.pop(key)
            awaited.set_result(answer)  # None: it failed, and whoever waits tries for himself

    def _found(self, key: str, lifetime: float, budget: TimeBudget, find: Callable[[], str]) -> str:
        redis, began = _redis(), time.monotonic()
        with _charged(budget):
            shared = redis.take(key, budget.left / 2) if redis else None
        if shared is not None:
            answer, left = shared
            self._memory.put(key, answer, began + left)
            return answer
        answer, began = "", time.monotonic()
        try:
            answer = find()
        finally:
            if redis:
                redis.put(key, answer, began + lifetime - time.monotonic())
        self._memory.put(key, answer, began + lifetime)
        return answer


@contextmanager
def _charged(budget: TimeBudget) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        budget.left -= time.monotonic() - began


def _waited(awaited: Future[str | None], budget: TimeBudget) -> str | None:
    try:
        with _charged(budget):
            return awaited.result(timeout=max(budget.left, 0))
    except TimeoutError:
        raise OutOfTime from None


def _look(redis: Any, key: str) -> tuple[bytes, float]:
    """Return what is kept, and for how many seconds.

    Raises TypeError for an address whose options make texts of what Redis says.
    """
    milliseconds = max(1, round(conf.current().query_time_budget * 1000))
    kept, left = redis.eval(_TAKE, 1, key, milliseconds)
    return bytes(kept), int(left) / 1000


def _verified(key: str, kept: bytes) -> str | None:
    try:
        return Signer(salt=key).unsign(kept.decode())
    except (BadSignature, UnicodeDecodeError):
        return None


def _key_of(question: object, lifetime: float) -> str:
    """Return a name that nobody can guess, and that no other installation or setting shares."""
    database = connections[DEFAULT_DB_ALIAS].settings_dict
    place = [str(database[part]) for part in ("NAME", "HOST", "PORT")]
    text = json.dumps([place, lifetime, question], sort_keys=True)
    return f"{PREFIX}answer:{salted_hmac(SALT, text, algorithm='sha256').hexdigest()}"


def _redis() -> RedisAnswers | None:
    url = conf.current().redis_url
    return _redis_at(url) if url else None


@lru_cache(maxsize=4)
def _redis_at(url: str) -> RedisAnswers:
    return RedisAnswers(url)


_answers: Answers
reset()
os.register_at_fork(after_in_child=reset)
