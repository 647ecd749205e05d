"""Notice, as rows come into the record, that one client is worth a look before the next run.

Each process sees the rows it moves, so these numbers are rough; detection counts exactly.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from tracking import signals

STEP = 50  # every so many requests of one client within about an hour
TAG_WEIGHT = 10  # a request with a tag counts as so many
MOST_KEYS = 20_000
FORGET_SECONDS = 3600.0
PAUSE_SECONDS = 1.0  # between two signals: one run looks at all clients

_counts: Counter[str] = Counter()
_told: dict[str, int] = {}
_forget_at = 0.0
_next_signal = 0.0


def reset() -> None:
    """Begin anew, as in a process that has just started."""
    global _forget_at, _next_signal
    _forget_at = _next_signal = 0.0


def notice(rows: Iterable[tuple[str, bool]]) -> None:
    """Count rows, each given as the client's key and whether it has tags; never raises."""
    global _forget_at, _next_signal
    now = time.monotonic()
    if now >= _forget_at or len(_counts) > MOST_KEYS:
        _counts.clear()
        _told.clear()
        _forget_at = now + FORGET_SECONDS
    keys = set()
    for key, is_tagged in rows:
        _counts[key] += TAG_WEIGHT if is_tagged else 1
        keys.add(key)
    if now < _next_signal:
        return
    for key in keys:
        steps = _counts[key] // STEP
        if steps > _told.get(key, 0):
            _told[key] = steps
            _next_signal = now + PAUSE_SECONDS
            signals.threshold_crossed.send_robust(notice, key=key)
            return
