"""The partitions of the request log on PostgreSQL: made ahead, begun in time, dropped whole.

A partition is a range of row numbers. Rows are numbered in the order in which they are recorded
(tracking.recorder), so each partition is also a stretch of time: it ends when `renew` lets the
numbers go on in the next one. Whether a stretch is old its rows say; no clock decides where a row
goes, and none that is wrong can send it where no partition is.

SQLite has no partitions: there the whole log is one stretch.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, transaction

from tracking.models import BATCH, Counter, RequestLog

WIDTH = 10_000_000  # numbers of a partition: more rows it never holds
FEW = 100_000  # rows; those of a smaller partition may as well be deleted one by one

_TABLE = RequestLog._meta.db_table  # noqa: SLF001
_BOUNDS = """
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) from 'TO [(]''?([0-9]+)')::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass ORDER BY 2"""
_LAST_ANALYZED = "SELECT last_analyze FROM pg_stat_all_tables WHERE relid = %s::regclass"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows that were recorded one after the other: from number `first` to `last`, if there are any.

    `table` is the partition that holds just these; where there are no partitions it is empty.
    """

    table: str
    first: int
    last: int
    begun: datetime
    ended: datetime

    @property
    def most_rows(self) -> int:
        """No more rows than this; fewer where rows were deleted since, or never committed."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Partition:
    """A table for rows with numbers below `upper`, from where the one before it ends."""

    table: str
    upper: int


def stretches() -> list[Stretch]:
    """Return where rows are, the oldest first. Looks at the ends of each stretch only."""
    known = _partitions()
    if not known:
        return _ends("", None, None)
    found, lower = [], None
    for partition in known:
        found += _ends(partition.table, lower, partition.upper)
        lower = partition.upper
    return found


def make_ahead() -> None:
    """See to it that the next row has a partition, and that another one stands behind it.

    Raises DatabaseError when that cannot be: the role may not make tables, or has to wait.
    """
    known = _partitions()
    if not known:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        number = _next_number(cursor)
        if _is_ahead(known, number):
            return
        _lock(cursor)
        known = _partitions()
        while not _is_ahead(known, number):
            lower = max(known[-1].upper, number // WIDTH * WIDTH)
            known.append(_make(cursor, lower))


def renew(longest: timedelta | None, most_rows: int, now: datetime) -> None:
    """Make partitions ahead, begin the next one if the present one holds enough, drop empty ones.

    It holds enough when it is `longest` old and not all too small, or has `most_rows`. Then no row
    comes into it any more, and it can be dropped as soon as it is old. Raises DatabaseError.
    """
    if not _partitions():
        return
    make_ahead()
    for present in stretches()[-1:]:
        is_old = longest is not None and now - present.begun >= longest
        if present.most_rows >= (min(FEW, most_rows) if is_old else most_rows):
            _end(present)
    _drop_empty()
    _analyze(now)


def drop(table: str, patience: timedelta) -> None:
    """Drop a partition with all of its rows, in the caller's transaction.

    Everybody who uses the log waits for the rest of that transaction. Raises OperationalError when
    others have used it for longer than `patience`: try again.
    """
    with connection.cursor() as cursor:
        _wait_at_most(cursor, patience)
        cursor.execute(f"DROP TABLE IF EXISTS {connection.ops.quote_name(table)}")


def _ends(table: str, lower: int | None, upper: int | None) -> list[Stretch]:
    rows = RequestLog.objects.order_by("pk").values_list("pk", "recorded_at")
    if lower is not None:
        rows = rows.filter(pk__gte=lower)
    if upper is not None:
        rows = rows.filter(pk__lt=upper)
    first, last = rows.first(), rows.last()
    if first is None or last is None:
        return []
    return [Stretch(table, first[0], last[0], first[1], last[1])]


def _partitions() -> list[Partition]:
    """Return the partitions in the order of their numbers; none on SQLite, and before migrating."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDS, [_TABLE])
        return [Partition(*row) for row in cursor.fetchall()]


def _is_ahead(known: list[Partition], number: int) -> bool:
    """Tell whether there is another partition behind the one for a number."""
    return len(known) > 1 and number < known[-2].upper


def _make(cursor: Any, lower: int) -> Partition:
    """Make a partition beside the log and attach it: that lets all others read and write on."""
    made = Partition(f"{_TABLE}_{lower}", lower + WIDTH)
    cursor.execute(f"CREATE TABLE {made.table} (LIKE {_TABLE} INCLUDING CONSTRAINTS)")
    cursor.execute(
        f"ALTER TABLE {_TABLE} ATTACH PARTITION {made.table}"
        f" FOR VALUES FROM ({lower}) TO ({made.upper})"
    )
    return made


def _end(present: Stretch) -> None:
    """Let the numbers go on where the next partition begins, unless they do already."""
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        holding = _holding(_next_number(cursor))
        if holding.table == present.table:
            cursor.execute(f"SELECT setval({_SEQUENCE}, %s, false)", [_TABLE, holding.upper])


def _drop_empty() -> None:
    """Drop partitions of which no row is left; into those before the present one none comes."""
    with connection.cursor() as cursor:
        present = _holding(_next_number(cursor))
    used = {each.table for each in stretches()}
    for partition in _partitions():
        if partition.upper < present.upper and partition.table not in used:
            # One in use can wait.
            with suppress(OperationalError), transaction.atomic():
                drop(partition.table, timedelta(seconds=0.1))


def _holding(number: int) -> Partition:
    return next(partition for partition in _partitions() if number < partition.upper)


def _lock(cursor: Any) -> None:
    """Keep out whoever records, for the rest of the transaction: between two batches."""
    _wait_at_most(cursor, timedelta(seconds=1))
    Counter.objects.get_or_create(name=BATCH)
    Counter.objects.select_for_update().get(name=BATCH)


def _wait_at_most(cursor: Any, patience: timedelta) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = {round(patience.total_seconds() * 1000)}")


def _next_number(cursor: Any) -> int:
    cursor.execute(f"SELECT {_SEQUENCE}::text", [_TABLE])
    [sequence] = cursor.fetchone()
    cursor.execute(f"SELECT last_value + is_called::int FROM {sequence}")  # noqa: S608 - its own name
    return int(cursor.fetchone()[0])


def _analyze(now: datetime) -> None:
    """Count anew for the planner what the whole log holds: autovacuum looks at partitions only."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ANALYZED, [_TABLE])
        [last] = cursor.fetchone()
        if last is None or not now - timedelta(days=1) < last <= now:
            cursor.execute(f"ANALYZE {_TABLE}")


_SEQUENCE = "pg_get_serial_sequence(%s, 'id')"
