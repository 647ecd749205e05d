"""Requests of the record as a file: CSV for spreadsheets, JSON lines for programs.

The oldest comes first. Rows are read by their place in the log, some at a time, each time by a
question of its own that looks at no more than SCAN rows. So the memory in use does not grow with
the file, a client that reads slowly keeps no cursor or transaction open, and no question is long.
"""

from __future__ import annotations

import csv
import enum
import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseProblem
from django.db.models import Q
from django.utils import timezone

from tracking import audit, conf
from tracking.audit import Actor
from tracking.engine.cells import guarded
from tracking.logpage import Position
from tracking.models import RequestLog, RequestLogQuerySet
from tracking.timebudget import OutOfTime, TimeBudget

logger = logging.getLogger(__name__)

ACTION = "export"  # in the audit log
SCAN = 20_000
AT_ONCE = 1_000  # rows in memory

# What stands in a file, by the names of the GraphQL type RequestLog, and the columns it is read of.
FIELDS = {
    "id": "pk",
    "at": "at",
    "address": "address",
    "method": "method",
    "host": "host",
    "path": "path",
    "query": "query",
    "status": "status",
    "durationMs": "duration_ms",
    "country": "country",
    "city": "city",
    "asn": "asn",
    "username": "username",
    "userAgent": "user_agent",
    "referer": "referer",
    "requestId": "request_id",
    "operations": "operations",
    "verdict": "verdict",
    "limit": "limit",
    "tags": "tags",
    "source": "source",
    "rule": "rule_id",
}
_NULLABLE = ("country", "city", "username", "limit")  # empty in the table where unknown

Row = tuple[Any, ...]


class Format(enum.StrEnum):
    """How a file is written; the value is the ending of its name."""

    CSV = "csv"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which requests: those that meet the condition, from `since` on and before `until`.

    `asked` says the same to the readers of the audit log.
    """

    condition: Q = field(default_factory=Q)
    since: datetime | None = None
    until: datetime | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)


class BrokenOffError(Exception):
    """The database could not be read on; the last line of the file says so."""


class Export:
    """The parts of a file, to be gone through once; `rows` counts those that were written."""

    def __init__(self, selection: Selection, form: Format) -> None:
        self.rows = 0
        self._batches = _batches(selection)
        self._form = form

    def __iter__(self) -> Iterator[str]:
        """Yield the file. Raises BrokenOffError behind a last line that tells of it."""
        if self._form is Format.CSV:
            yield _cells([FIELDS])
        try:
            for batch in self._batches:
                self.rows += len(batch)
                yield _WRITERS[self._form](map(told, batch))
        except (DatabaseProblem, OutOfTime) as error:
            logger.exception("An export broke off after %d requests", self.rows)
            problem = f"INCOMPLETE: the database could not be read on after {self.rows} requests."
            yield _WRITERS[self._form]([{"error": problem}])
            raise BrokenOffError(problem) from error


def begin(actor: Actor, selection: Selection, form: Format) -> Export:
    """Put on record who exports what, and return the file.

    It holds the requests until now: it would never end where they come faster than it is read.
    """
    audit.record(
        actor, ACTION, "request log", after={"format": form.name, "filter": dict(selection.asked)}
    )
    return Export(selection, form)


def told(row: Row) -> dict[str, Any]:
    """Return a row by the names of FIELDS, as GraphQL answers it; `rule` is the id of the rule."""
    facts = dict(zip(FIELDS, row, strict=True))
    facts["id"] = _global_id("RequestLog", facts["id"])
    facts["at"] = facts["at"].astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    facts["rule"] = _global_id("AccessRule", facts["rule"])
    return facts | {name: facts[name] or None for name in _NULLABLE}


def _global_id(kind: str, pk: int | None) -> str | None:
    return None if pk is None else b64encode(f"{kind}:{pk}".encode()).decode()


def _batches(selection: Selection) -> Iterator[list[Row]]:
    """Yield the rows, the oldest first, stepping through all that lie in the span of time.

    How many rows a step looks at does not depend on how many of them meet the condition.
    """
    now = timezone.now()
    until = now if selection.until is None else min(selection.until, now)
    log = RequestLog.objects.window(selection.since, until).order_by("at", "pk")
    start: Position | None = None
    while True:
        end = _ahead(_after(log, start))
        step = log.filter(selection.condition)
        yield from _read(step if end is None else step.filter(end.not_newer()), start)
        if end is None:
            return
        start = end


def _read(rows: RequestLogQuerySet, start: Position | None) -> Iterator[list[Row]]:
    while True:
        with _budget().spending():
            batch = list(_after(rows, start).values_list(*FIELDS.values())[:AT_ONCE])
        if batch:
            yield batch
        if len(batch) < AT_ONCE:
            return
        pk, at = batch[-1][:2]
        start = Position(at, pk)


def _ahead(rows: RequestLogQuerySet) -> Position | None:
    """Return the place of the last row of a step; None when the rows end before."""
    with _budget().spending():
        last = rows.values_list("at", "pk")[SCAN - 1 : SCAN].first()
    return None if last is None else Position(*last)


def _after(rows: RequestLogQuerySet, start: Position | None) -> RequestLogQuerySet:
    return rows if start is None else rows.filter(start.newer())


def _budget() -> TimeBudget:
    return TimeBudget(conf.current().query_time_budget)


def _csv(lines: Iterable[Mapping[str, Any]]) -> str:
    return _cells(line.values() for line in lines)


def _cells(lines: Iterable[Iterable[Any]]) -> str:
    """Return lines as RFC 4180 has them, in which no cell is a formula."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(_cell, line) for line in lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return guarded(text.replace("\0", "\\x00"))  # at a NUL many readers end the cell or the file


def _json_lines(lines: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)


_WRITERS = {Format.CSV: _csv, Format.JSON_LINES: _json_lines}
