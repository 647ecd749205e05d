"""Requests counted by several subjects in one reading of their rows."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Substr

from tracking.engine.address import network_around
from tracking.engine.verdict import VerdictKind
from tracking.models import RequestLog, Subject
from tracking.statistics import BUCKETS, Interval
from tracking.timebudget import TimeBudget

LONGEST_VALUE = 255  # characters; longer paths count together by their beginning
IN_TIME = (Subject.VERDICT, Subject.STATUS_CLASS)
LISTED = (Subject.ADDRESS, Subject.NETWORK, Subject.COUNTRY, Subject.PATH, Subject.LIMIT)
REFUSED = frozenset({VerdictKind.BLOCKED, VerdictKind.LIMITED})
ROWS_AT_ONCE = 5000
# Values of a subject in memory, since strangers choose them; then the rarer half is forgotten.
MOST_DIFFERENT = 50_000

_COLUMNS = ("verdict", "status", "country", "limit")


def _counters() -> dict[Subject, Counter[str]]:
    return {subject: Counter() for subject in LISTED}


@dataclass(slots=True)
class Breakdown:
    """What was counted. Where something was left out, `missing` bounds it.

    `times` counts by the start of the bucket, the subject (one of IN_TIME) and its value.
    `requests` and `refused` count by each of LISTED; an unknown country is "". To each value of a
    subject up to `missing` requests may have to be added. What takes longer than the budget ends.
    """

    budget: TimeBudget | None = None
    times: Counter[tuple[datetime, Subject, str]] = field(default_factory=Counter)
    requests: dict[Subject, Counter[str]] = field(default_factory=_counters)
    refused: dict[Subject, Counter[str]] = field(default_factory=_counters)
    missing: Counter[Subject] = field(default_factory=Counter)

    def add(self, rows: QuerySet[RequestLog], interval: Interval) -> None:
        """Count rows, in buckets of the interval. Raises OutOfTime, when there is a budget."""
        read = rows.order_by().annotate(
            bucket=BUCKETS[interval],
            start_of_path=Substr("path", 1, LONGEST_VALUE),
            address_text=Cast("address", TextField()),  # not made an address for each row
        )
        columns = read.values_list("bucket", *_COLUMNS, "start_of_path", "address_text")
        cells: Counter[tuple[Any, ...]] = Counter()
        counted, refused = _by_column(), _by_column()
        for chunk in _chunks(columns.iterator(chunk_size=ROWS_AT_ONCE)):
            if self.budget:
                self.budget.look()
            cells.update(row[:3] for row in chunk)
            _count(chunk, counted)
            _count([row for row in chunk if row[1] in REFUSED], refused)
            if max(map(len, counted.values())) > MOST_DIFFERENT:
                self._take(counted, refused)
                counted, refused = _by_column(), _by_column()
        for (bucket, verdict, status), number in cells.items():
            start = moment(bucket)
            self.times[start, Subject.VERDICT, verdict] += number
            self.times[start, Subject.STATUS_CLASS, f"{status // 100}xx"] += number
        self._take(counted, refused)

    def _take(self, counted: dict[str, Counter[str]], refused: dict[str, Counter[str]]) -> None:
        """Take in what was counted by column, and forget the rarer values of too many."""
        _merge(self.requests, counted)
        _merge(self.refused, refused)
        for subject, requests in self.requests.items():
            if len(requests) > MOST_DIFFERENT:
                ordered = requests.most_common()
                frequent, rare = ordered[: MOST_DIFFERENT // 2], ordered[MOST_DIFFERENT // 2 :]
                self.missing[subject] += rare[0][1]
                self.requests[subject] = Counter(dict(frequent))
                self.refused[subject] &= self.requests[subject]


def _by_column() -> dict[str, Counter[str]]:
    return {name: Counter() for name in ("country", "limit", "path", "address")}


def _chunks(rows: Iterable[tuple[Any, ...]]) -> Iterable[list[tuple[Any, ...]]]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == ROWS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _count(chunk: list[tuple[Any, ...]], counters: dict[str, Counter[str]]) -> None:
    if chunk:
        _, _, _, countries, limits, paths, addresses = zip(*chunk, strict=True)
        counters["country"].update(countries)
        counters["limit"].update(limits)
        counters["path"].update(paths)
        counters["address"].update(addresses)


def _merge(into: dict[Subject, Counter[str]], counters: dict[str, Counter[str]]) -> None:
    into[Subject.COUNTRY].update(counters["country"])
    into[Subject.PATH].update(counters["path"])
    into[Subject.LIMIT].update({name: n for name, n in counters["limit"].items() if name})
    for text, number in counters["address"].items():
        address, network = _address_and_network(text)
        into[Subject.ADDRESS][address] += number
        into[Subject.NETWORK][network] += number


def _address_and_network(text: str) -> tuple[str, str]:
    """Read an address as its column keeps it: PostgreSQL's inet with its mask, or our own form.

    An hour has thousands of them: those of IPv4 take a tenth of the time that `ipaddress` would.
    """
    if "/" in text:
        text = text.partition("/")[0]
    elif text[0] == "4":
        text = socket.inet_ntoa(bytes.fromhex(text[1:]))
    else:
        text = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(text[1:]))
    if ":" not in text:
        return text, f"{text.rpartition('.')[0]}.0/24"
    address = ipaddress.IPv6Address(text)
    return str(address), str(network_around(address))


def moment(bucket: str | datetime) -> datetime:
    """Return where a bucket of tracking.statistics begins."""
    if isinstance(bucket, str):
        return datetime.fromisoformat(bucket).replace(tzinfo=UTC)
    return bucket.astimezone(UTC)
