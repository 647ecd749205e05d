"""Notice, as rows come into the record, that one client is worth a look before the next run.

Each process sees the rows it moves, so these numbers are rough; detection counts exactly.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from tracking import signals

STEP = 50  # more than one, two, three... times so many requests of one client in about an hour
TAG_WEIGHT = 10  # a request with a tag counts as so many
MOST_KEYS = 20_000
FORGET_SECONDS = 3600.0
PAUSE_SECONDS = 1.0  # between two runs that are asked for: one looks at all clients

_counts: Counter[str] = Counter()
_told: dict[str, int] = {}
_forget_at = 0.0
_next_run = 0.0  # not before this moment


def reset() -> None:
    """Begin anew, as in a process that has just started."""
    global _forget_at, _next_run
    _forget_at = _next_run = 0.0


def notice(rows: Iterable[tuple[str, bool]]) -> None:
    """Count rows, each given as the client's key and whether it has tags; never raises."""
    global _forget_at, _next_run
    now = time.monotonic()
    if now >= _forget_at or len(_counts) > MOST_KEYS:
        _counts.clear()
        _told.clear()
        _forget_at = now + FORGET_SECONDS
    keys = set()
    for key, is_tagged in rows:
        _counts[key] += TAG_WEIGHT if is_tagged else 1
        keys.add(key)
    crossed = [key for key in keys if (_counts[key] - 1) // STEP > _told.get(key, 0)]
    if not crossed:
        return
    _told.update((key, (_counts[key] - 1) // STEP) for key in crossed)
    delay = max(_next_run - now, 0.0)
    if delay <= PAUSE_SECONDS:  # else a run is still to come
        _next_run = now + delay + PAUSE_SECONDS
        signals.threshold_crossed.send_robust(notice, key=crossed[0], delay=delay)
