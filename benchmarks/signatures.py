"""What do signatures cost a row, and whom do they recognise?

    python -m benchmarks.signatures [folder with actors.log, actors.truth.json, requests.jsonl]

The costs are CPU microseconds of the thread that asks. Without a folder only hostile requests are
timed; with one, the rows of a real log too, and precision and recall are counted.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from benchmarks.tables import show
from tracking.engine import signatures
from tracking.engine.accesslog import parse_line
from tracking.engine.families import SEVERE
from tracking.engine.payloads import PAYLOADS
from tracking.engine.text import redacted_query, redacted_url
from tracking.engine.visit import Record

LONG = 8192  # characters of a hostile query
# Headers in which no payload of a suite is out of reach.
_USUAL = {
    *("host", "accept", "accept-encoding", "accept-language", "connection", "keep-alive"),
    *("proxy-connection", "cache-control", "content-type", "user-agent", "referer"),
}


class Figures(NamedTuple):
    """Of `total` requests or addresses: how many had a severe tag, and how many any tag.

    `reachable` is how many have their payload in path, query, agent or referer.
    """

    total: int
    severe: int
    tagged: int
    reachable: int = 0
    reached: int = 0


def records(folder: Path) -> list[Record]:
    """Return the rows of the labelled log."""
    lines = (folder / "actors.log").read_text("latin-1").splitlines()
    return [parse_line(line, "labelled", keep_query=True) for line in lines]


def tags(record: Record) -> tuple[str, ...]:
    return signatures.tags(
        method=record.method,
        path=record.path,
        query=record.query,
        user_agent=record.user_agent,
        referer=record.referer,
        status=record.status,
    )


def by_actor(folder: Path) -> dict[tuple[bool, str], Figures]:
    """Return figures by whether the addresses are malicious and by what kind they are."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records(folder):
        found[record.address].update(tags(record))
    truth = json.loads((folder / "actors.truth.json").read_text())
    groups: dict[tuple[bool, str], list[set[str]]] = defaultdict(list)
    for address, label in truth.items():
        groups[label["malicious"], label["kind"]].append(found.get(address, set()))
    return {
        group: Figures(len(actors), sum(bool(a & SEVERE) for a in actors), sum(map(bool, actors)))
        for group, actors in sorted(groups.items())
    }


def recall_and_precision(
    figures: dict[tuple[bool, str], Figures],
) -> dict[str, tuple[float, float]]:
    """Return recall and precision over all addresses, for severe tags and for any."""
    actors = sum(f.total for (malicious, _), f in figures.items() if malicious)
    rates = {}
    for name in ("severe", "tagged"):
        right = sum(getattr(f, name) for (malicious, _), f in figures.items() if malicious)
        flagged = sum(getattr(f, name) for f in figures.values())
        rates[name] = (right / actors, right / flagged)
    return rates


def by_class(folder: Path) -> dict[tuple[str, str, bool], Figures]:
    """Return figures of single requests by suite, by class, and by whether they are malicious."""
    groups: dict[tuple[str, str, bool], Counter[str]] = defaultdict(Counter)
    for line in (folder / "requests.jsonl").read_text().splitlines():
        request = json.loads(line)
        source = request["source"].partition("/")[2]
        level = f" PL{request['paranoia']}" if request.get("paranoia") else ""
        group = groups[source, request["klass"] + level, request["malicious"]]
        found, reachable = _sent(request), _within_reach(request)
        group["total"] += 1
        group["severe"] += bool(found & SEVERE)
        group["tagged"] += bool(found)
        group["reachable"] += reachable
        group["reached"] += reachable and bool(found)
    return {
        group: Figures(*(counts[name] for name in Figures._fields))
        for group, counts in sorted(groups.items())
    }


def _sent(request: dict[str, Any]) -> set[str]:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    path, _, query = request["path"].partition("?")
    found = signatures.tags(
        method=request["method"],
        path=redacted_url(path),
        query=redacted_query(query),
        user_agent=headers.get("user-agent", ""),
        referer=redacted_url(headers.get("referer", "")),
        status=404,
    )
    return set(found)


def _within_reach(request: dict[str, Any]) -> bool:
    """Tell whether a payload stands in the four fields: the rest of a request is not recorded."""
    target = unquote(request["path"])
    if any(sign in target for sign in "'\"<>(){};|`$\\ "):
        return True
    return not request["body"] and {name.lower() for name in request["headers"]} <= _USUAL


def hostile() -> Iterable[tuple[str, str]]:
    """Yield names and queries that keep the expressions busy as long as they can."""
    units = {"%25", "&#x41;", "/*", "'", "\uff1c", "%c0%ae", "a b "}
    for payload in PAYLOADS:
        example = payload.example.partition("?")[2] or payload.example
        units |= {*payload.literals, example, example[:-1], example[: len(example) // 2]}
        units |= {sign + literal for literal in payload.literals for sign in ("'", "=", "&a=")}
    for unit in sorted(units):
        yield unit, (unit * LONG)[:LONG]
    yield "every literal", " ".join(one for payload in PAYLOADS for one in payload.literals)


def spent(call: Callable[[], object], rounds: int) -> list[float]:
    """Return microseconds of CPU for each call."""
    times = []
    for _ in range(rounds):
        before = time.thread_time_ns()
        call()
        times.append((time.thread_time_ns() - before) / 1000)
    return times


def cost_of_rows(rows: list[Record]) -> list[float]:
    """Return microseconds of CPU for each row of a log, from empty caches on."""
    for cache in (signatures._target_cached, signatures._agent_cached, signatures._referer_cached):
        cache.cache_clear()
    return [spent(partial(tags, row), 1)[0] for row in rows]


def main(folder: Path | None) -> None:
    worst = sorted((min(spent(partial(tags_of, query), 5)), name) for name, query in hostile())
    [(longest, _), (middle, _)] = worst[-1], worst[len(worst) // 2]
    rows = [(f"{len(worst)} kinds of {LONG:,} characters", middle, longest)]
    show("hostile", ("hostile queries", "CPU us each: median", "worst"), rows)
    if folder is None:
        return
    rows = records(folder)
    for name in ("from empty caches on", "again"):
        times = (
            cost_of_rows(rows)
            if name != "again"
            else [spent(partial(tags, row), 3)[-1] for row in rows]
        )
        print(f"rows {name}: median {statistics.median(times):.1f} us,", end=" ")
        print(f"mean {statistics.fmean(times):.1f} us, worst {max(times):.0f} us")
    print(f"path and query alone, never cached: median {statistics.median(uncached(rows)):.1f} us")
    actors = by_actor(folder)
    for (malicious, kind), figures in actors.items():
        print(f"| {'malicious' if malicious else 'not'} | {kind} | {_cells(figures[:3])} |")
    for name, (recall, precision) in recall_and_precision(actors).items():
        print(f"{name}: recall {recall:.3f} at precision {precision:.3f}")
    for (source, klass, malicious), figures in by_class(folder).items():
        print(f"| {source} | {klass} | {'malicious' if malicious else 'not'} | {_cells(figures)} |")


def tags_of(query: str) -> tuple[str, ...]:
    return signatures.tags(method="GET", path="/", query=query)


def uncached(rows: list[Record]) -> list[float]:
    return [spent(partial(signatures._target, row.path, row.query), 1)[0] for row in rows]


def _cells(figures: Iterable[int]) -> str:
    return " | ".join(map(str, figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
