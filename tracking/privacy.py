"""Export and erase what is known of somebody: of an address, a network or a user.

What each table has, and what becomes of it, stands in tracking.holdings. Both are put in the audit
log: an export with whom it was about, an erasure without.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.utils import timezone

from tracking import audit, blocklist, drainer, rollups, signals
from tracking.audit import Actor
from tracking.datasubject import DataSubject
from tracking.holdings import HOLDINGS, KEPT, Holding

EXPORT, ERASE = "export_personal_data", "erase_personal_data"  # actions of the audit log
RECOUNT_SECONDS = 5.0
WIDE = (
    "What is kept under pseudonyms is found by single addresses, by networks of up to 256, and by"
    " IPv6 networks that count as one client; not by this one."
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """What became of somebody's rows in a table: deleted, redacted, or kept, and why."""

    table: str
    fate: str
    rows: int
    why: str = ""


@dataclass(slots=True)
class Report:
    """What an erasure did, or would do; not `complete`: the time was over, do it again."""

    lines: list[Line] = field(default_factory=list)
    complete: bool = True
    note: str = ""


def export(actor: Actor, subject: DataSubject) -> Iterator[tuple[str, Iterator[Row]]]:
    """Put on record who asks, and return each table's name with its rows about somebody.

    Rows of requests that are under way may be missing. Raises DatabaseError.
    """
    drainer.drain()
    after = {"name": subject.name, "pk": subject.pk} if subject.name else None
    audit.record(actor, EXPORT, f"user {subject}" if subject.name else str(subject), after=after)
    return chain(_own(subject), _of_others(subject))


def document(tables: Iterable[tuple[str, Iterator[Row]]], subject: DataSubject) -> Iterator[str]:
    """Yield the parts of one JSON object with all rows by table."""
    about = {"user" if subject.name else "network": str(subject)}
    made = {"about": about, "made_at": timezone.now(), "note": _note(subject)}
    yield f'{_json(made)[:-1]}, "tables": {{'
    for number, (table, rows) in enumerate(tables):
        yield f"{',' if number else ''}\n{_json(table)}: ["
        for place, row in enumerate(rows):
            yield f"{',' if place else ''}\n{_json(row)}"
        yield "]"
    yield "\n}}\n"


def erase(
    actor: Actor, subject: DataSubject, reason: str = "", seconds: float = float("inf")
) -> Report:
    """Take somebody out of every table, and return what became of his rows.

    Stops after `seconds` with what is done; whoever asks again goes on. What comes from him
    afterwards is recorded as ever. Raises DatabaseError; what is done until then stays done, and
    is on record.
    """
    deadline = time.monotonic() + seconds
    report = Report(note=_note(subject))
    try:
        drainer.drain()
        blocklist.close_expired(timezone.now())
        for holding in HOLDINGS:
            report.lines.append(_erased(holding, subject, deadline))
        report.lines += _elsewhere(subject, dry_run=False)
        report.complete = time.monotonic() < deadline
    finally:
        facts = {"complete": report.complete, "rows": _counts(report)}
        audit.record(actor, ERASE, subject.kind, reason=reason, after=facts)
    rollups.renew(RECOUNT_SECONDS)
    return report


def preview(subject: DataSubject) -> Report:
    """Return what an erasure would do; changes nothing but what is recorded anyway."""
    drainer.drain()
    report = Report(note=_note(subject))
    for holding in HOLDINGS:
        number = sum(map(len, holding.batches(subject)))
        report.lines.append(Line(holding.table, holding.fate, number, holding.why))
    report.lines += _elsewhere(subject, dry_run=True)
    return report


def _erased(holding: Holding, subject: DataSubject, deadline: float) -> Line:
    number = 0
    for keys in holding.batches(subject):
        if time.monotonic() >= deadline:
            break
        number += len(keys)
        if keys and holding.fate != KEPT:
            holding.erase(subject, keys)
    return Line(holding.table, holding.fate, number, holding.why)


def _own(subject: DataSubject) -> Iterator[tuple[str, Iterator[Row]]]:
    for table in dict.fromkeys(holding.table for holding in HOLDINGS):
        yield table, _rows([each for each in HOLDINGS if each.table == table], subject)


def _rows(holdings: list[Holding], subject: DataSubject) -> Iterator[Row]:
    seen = set()
    for holding in holdings:
        for row in holding.rows(subject):
            if len(holdings) == 1 or row.pk not in seen:
                yield _facts(row)
            if len(holdings) > 1:
                seen.add(row.pk)


def _facts(row: Model) -> Row:
    return {each.attname: getattr(row, each.attname) for each in row._meta.concrete_fields}  # noqa: SLF001


def _of_others(subject: DataSubject) -> Iterator[tuple[str, Iterator[Row]]]:
    answers: Any = signals.data_asked.send(DataSubject, subject=subject)
    for _, tables in answers:
        for table, rows in tables.items():
            yield table, iter(rows)


def _elsewhere(subject: DataSubject, *, dry_run: bool) -> list[Line]:
    told: Any = signals.data_erased.send(DataSubject, subject=subject, dry_run=dry_run)
    return [Line(*line) for _, lines in told for line in lines]


def _note(subject: DataSubject) -> str:
    return "" if subject.is_complete else WIDE


def _counts(report: Report) -> list[dict[str, Any]]:
    return [asdict(line) for line in report.lines if line.rows]


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
