"""Signatures take linear time, and tell the labelled addresses and requests apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from re import _parser as sre_parse  # type: ignore[attr-defined]

import pytest

from benchmarks import signatures as figures
from tracking.engine import signatures
from tracking.engine.payloads import PAYLOADS
from tracking.engine.payloads.payload import Payload

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.example)
def test_no_expression_repeats_without_an_end(payload: Payload) -> None:
    assert "MAXREPEAT" not in repr(sre_parse.parse(payload.expression))


def least(query: str, rounds: int = 5) -> float:
    return min(figures.spent(partial(figures.tags_of, query), rounds))


def test_time_grows_no_faster_than_the_length() -> None:
    half = signatures.LONGEST // 2 - 8
    for unit, _ in figures.hostile():
        short = unit * (half // len(unit))
        if least(short * 2, 1) <= 2.5 * least(short, 1) + 50:
            continue
        # Somebody else was busy, or it is true.
        assert least(short * 2, 20) <= 2.5 * least(short, 20) + 50, unit


def test_the_length_of_what_is_looked_at_has_an_end() -> None:
    queries = dict(figures.hostile())
    for unit in ("'../", "%25", "&#x41;", "\uff1c", "&x=$(id"):
        query = queries.get(unit) or unit * 2048
        assert least(query * 16) <= 2 * least(query) + 200, unit


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled logs are not on this machine")
def test_malicious_addresses_of_the_labelled_log_are_told_from_the_others() -> None:
    actors = figures.by_actor(SHARED)
    rates = figures.recall_and_precision(actors)
    assert rates["severe"] >= (0.5, 0.98)
    assert rates["tagged"] >= (0.88, 0.98)
    assert not any(f.tagged for (malicious, kind), f in actors.items() if "legitimate" in kind)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled logs are not on this machine")
def test_the_suites_of_labelled_requests_are_recognised_where_they_are_within_reach() -> None:
    classes = figures.by_class(SHARED)

    def recall(*sources: str) -> float:
        chosen = [f for (source, _, bad), f in classes.items() if bad and source in sources]
        return sum(f.reached for f in chosen) / sum(f.reachable for f in chosen)

    assert recall("gotestwaf", "waf-bypass") >= 0.93
    assert recall("coreruleset") >= 0.42
    assert classes["gotestwaf", "texts", False].tagged == 0
    assert classes["waf-bypass", "FP", False].tagged == 0
    # Five tools for attacks stand in the list of crawlers: sqlmap, WPScan and the like.
    assert classes["crawler-user-agents", "declared-crawler", False].tagged <= 6
