"""Percentiles of how long answers took, from a histogram whose bars widen with the duration.

Each bar is 1.05 times as wide as the one before, so that whatever stands in one is known to
within 2.5 %. This is the histogram of DDSketch (Masson, Rim and Lee, VLDB 2019). The database says
of each request which bar it stands in, as one character, and joins these characters: so a group of
requests costs its text and no second reading of the rows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import accumulate

RATIO = 1.05
SHORTEST_MS, LONGEST_MS = 0.001, 1e8  # 1 microsecond and 28 hours; what is beyond counts as these
PERCENTILES = (50, 95, 99)
UNKNOWN: tuple[float | None, ...] = (None, None, None)

_BEFORE = 200  # keeps the numbers of all bars positive, and the characters clear of control codes
_BAR = f"CAST(floor(ln({{clamped}}) * {1 / math.log(RATIO)!r} + {_BEFORE}) AS integer)"
# A duration of 0 means that nobody knows: PostgreSQL's string_agg and SQLite's pass over the NULL.
_KNOWN = "CASE WHEN {column} > 0 THEN {character} END"


def bar_of(column: str, vendor: str) -> str:
    """Return the SQL for the bar of a duration (ms), a character; NULL for an unknown duration."""
    least, greatest = ("LEAST", "GREATEST") if vendor == "postgresql" else ("MIN", "MAX")
    clamped = f"{least}({greatest}({column}, {SHORTEST_MS!r}), {LONGEST_MS!r})"
    character = "chr" if vendor == "postgresql" else "char"
    bar = f"{character}({_BAR.format(clamped=clamped)})"
    return _KNOWN.format(column=column, character=bar)


def joined_bars(bar: str, row: str | None, vendor: str) -> str:
    """Return the SQL that joins the bars of a group; with `row`, each row's only once.

    `row` is the SQL of the row's number, which then follows each character.
    """
    join = "string_agg" if vendor == "postgresql" else "group_concat"
    if row is None:
        return f"{join}({bar}, '')"
    # SQLite joins distinct texts with commas only, which no bar is: so does this for both.
    distinct = f"DISTINCT {bar} || {row}"
    return f"{join}({distinct}, ',')" if vendor == "postgresql" else f"{join}({distinct})"


def percentiles(bars: str | None, are_numbered: bool) -> tuple[float | None, ...]:
    """Return PERCENTILES in ms of what `joined_bars` joined, each None where nothing is known.

    A percentile is the smallest duration that so many per cent of the requests do not exceed.
    `are_numbered` tells whether each bar has the number of its row behind it.
    """
    if not bars:
        return UNKNOWN
    counts = Counter(part[0] for part in bars.split(",")) if are_numbered else Counter(bars)
    reached = list(accumulate(counts[bar] for bar in sorted(counts)))
    ranks = (-(-counts.total() * share // 100) for share in PERCENTILES)
    return tuple(_middle(ord(sorted(counts)[bisect_left(reached, rank)])) for rank in ranks)


def _middle(bar: int) -> float:
    """Return the duration that is off by the same share of itself from both ends of a bar."""
    return float(RATIO ** (bar - _BEFORE) * 2 * RATIO / (RATIO + 1))
