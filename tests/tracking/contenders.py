"""Processes that use limits at the same time, for the tests: each runs one of these functions.

They start afresh (multiprocessing's "spawn"), so the first use of a limit is a contended one too.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

from django.conf import settings

if not settings.configured:
    settings.configure()

from tracking import counters, limiter
from tracking.engine.limits import ClientClass, Key, Limit, for_all

PATIENT = 30.0  # seconds; these tests are about exact counting on a busy machine, not about delay


def contend(
    start: Barrier, answers: Any, redis_url: str, threads: int, rounds: Iterable[tuple[str, str]]
) -> None:
    """Put on `answers` how many passed in each round of (rates, key), all threads at once."""
    set_up(redis_url)
    answers.put([sum(passes(start, threads, rates, key)) for rates, key in rounds])


def passes(start: Barrier, threads: int, rates: str, key: str) -> list[bool]:
    together = threading.Barrier(threads, action=start.wait)

    def use(_: int) -> bool:
        together.wait()
        return not limiter.check(limit(rates), ClientClass.ANONYMOUS, key)[0].refused

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(use, range(threads)))


def use_once(key: str) -> bool:
    return not limiter.check(limit("1/d"), ClientClass.ANONYMOUS, key)[0].refused


def limit(rates: str) -> Limit:
    return Limit("contended", Key.CALLER, for_all(rates))


def fork_while_counting(answers: Any, redis_url: str, forks: int) -> None:
    """Put on `answers` what went wrong in children forked while other threads count."""
    set_up(redis_url)
    use_once("import what it takes")  # a child forked from within an import waits for its end
    stop = threading.Event()
    others = [threading.Thread(target=count_until, args=(stop,)) for _ in range(8)]
    for other in others:
        other.start()
    wrong = [code for _ in range(forks) if (code := forked())]
    stop.set()
    for other in others:
        other.join()
    numbers = [remaining() for _ in range(3)]
    answers.put((wrong, numbers))


def count_until(stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        limiter.check(limit("5/d"), ClientClass.ANONYMOUS, f"{threading.get_ident()} {number}")


def forked() -> int:
    """Fork a child that counts twice; return 0 when it did so in time and rightly."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    threading.Timer(20, os._exit, [2]).start()  # a deadlock
    first, second = (use_once(str(os.getpid())) for _ in range(2))
    os._exit(0 if (first, second) == (True, False) else 1)


def remaining() -> int:
    return limiter.check(limit("5/d"), ClientClass.ANONYMOUS, "parent")[1][0].remaining


def set_up(redis_url: str) -> None:
    settings.TRACKING_STATE_DIR = os.curdir
    settings.TRACKING_REDIS_URL = redis_url
    counters.REDIS_TIMEOUT = PATIENT
    sys.setswitchinterval(1e-5)  # so that threads meet in the middle of things
