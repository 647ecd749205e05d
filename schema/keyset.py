"""Paging through rows by the position of the last one seen (keyset paging).

A page costs the same however far into the list it lies, and rows that arrive meanwhile neither
repeat nor hide others. A position is (at, id), which one index of the record serves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import BigIntegerField, DateTimeField, F, Func, QuerySet, TextField, Value
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual
from strawberry import UNSET

from schema.errors import bad_input

T = TypeVar("T")

DEFAULT_PAGE = 50
LARGEST_PAGE = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAYOUT = struct.Struct(">qq")
_MAC_BYTES = 8
_CURSOR_LENGTH = 32  # of the 24 bytes in base64, without padding


class Position(NamedTuple):
    """Where a row stands: its time, then its primary key."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Paging:
    """The checked arguments of a connection."""

    size: int
    backward: bool = False
    after: Position | None = None
    before: Position | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of the list, and whether the list goes on at either end."""

    rows: list[tuple[Any, ...]]
    has_previous: bool
    has_next: bool


def paging(first: int | None, after: str | None, last: int | None, before: str | None) -> Paging:
    """Return the arguments when they make sense together; raises Refusal BAD_USER_INPUT."""
    first, last = stated(first), stated(last)
    after, before = stated(after), stated(before)
    if first is not None and last is not None:
        raise bad_input("Give first or last, not both.")
    size = first if first is not None else last if last is not None else DEFAULT_PAGE
    if not 1 <= size <= LARGEST_PAGE:
        name = "first" if first is not None else "last"
        raise bad_input(f"{name} must be from 1 to {LARGEST_PAGE}, not {size}.")
    return Paging(
        size,
        last is not None,
        None if after is None else read_cursor(after, "after"),
        None if before is None else read_cursor(before, "before"),
    )


def stated(argument: T | None) -> T | None:
    """Return the argument, None when it was left out: both mean the same here."""
    return None if argument is UNSET else argument


def cursor_writer() -> Callable[[datetime, int], str]:
    """Return the function that writes the cursor of a row at (time, id)."""
    mac = _mac_writer()

    def write(at: datetime, pk: int) -> str:
        position = _LAYOUT.pack((at - _EPOCH) // _MICROSECOND, pk)
        return base64.urlsafe_b64encode(position + mac(position)).decode()

    return write


def read_cursor(text: str, argument: str) -> Position:
    """Return the position a cursor stands for; raises Refusal BAD_USER_INPUT for any other text."""
    try:
        if len(text) != _CURSOR_LENGTH:
            raise ValueError
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        position, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if not hmac.compare_digest(mac, _mac_writer()(position)):
            raise ValueError
        microseconds, pk = _LAYOUT.unpack(position)
        return Position(_EPOCH + microseconds * _MICROSECOND, pk)
    except (ValueError, binascii.Error, OverflowError):
        raise bad_input(
            f"{argument} is not a cursor of this service: pass an endCursor, startCursor or edge"
            " cursor unchanged, or leave it out to start anew."
        ) from None


def read_page(rows: QuerySet[Any, tuple[Any, ...]], paging: Paging, ascending: bool) -> Page:
    """Return one page of `rows`, whose values must begin with `at` and `id`.

    It is one query as long as the rows of the cursors still exist: both are fetched along, since
    seeing them answers whether the list goes on there. Only a missing one is asked for apart.
    """
    start, end = paging.after, paging.before
    if paging.backward:
        start, end = end, start
    upward = ascending is not paging.backward
    wanted = _between(rows, start, end, upward)
    found = list(_ordered(wanted, upward)[: paging.size + 2])
    behind = bool(found) and Position(*found[0][:2]) == start
    del found[: int(behind)]
    ahead = bool(found) and Position(*found[-1][:2]) == end
    found = found[: len(found) - int(ahead)]
    ahead = ahead or len(found) > paging.size
    del found[paging.size :]
    behind = behind or (start is not None and _reaches(rows, start, not upward))
    ahead = ahead or (end is not None and _reaches(rows, end, upward))
    if paging.backward:
        return Page(found[::-1], has_previous=ahead, has_next=behind)
    return Page(found, has_previous=behind, has_next=ahead)


def _between(
    rows: QuerySet[Any, tuple[Any, ...]],
    start: Position | None,
    end: Position | None,
    upward: bool,
) -> QuerySet[Any, tuple[Any, ...]]:
    """Return the rows from start to end, both included."""
    if start is not None:
        rows = _from(rows, start, upward)
    return rows if end is None else _from(rows, end, not upward)


def _from(
    rows: QuerySet[Any, tuple[Any, ...]], position: Position, upward: bool
) -> QuerySet[Any, tuple[Any, ...]]:
    compare = GreaterThanOrEqual if upward else LessThanOrEqual
    return rows.filter(compare(_row(F("at"), F("id")), _at(position)))


def _reaches(rows: QuerySet[Any, tuple[Any, ...]], position: Position, upward: bool) -> bool:
    """Tell whether any row lies strictly beyond the position."""
    compare = GreaterThan if upward else LessThan
    beyond = rows.filter(compare(_row(F("at"), F("id")), _at(position)))
    return bool(_ordered(beyond, upward)[:1])


def _ordered(rows: QuerySet[Any, tuple[Any, ...]], upward: bool) -> QuerySet[Any, tuple[Any, ...]]:
    return rows.order_by("at", "id") if upward else rows.order_by("-at", "-id")


def _at(position: Position) -> Func:
    return _row(
        Value(position.at, output_field=DateTimeField()),
        Value(position.id, output_field=BigIntegerField()),
    )


def _row(*columns: F | Value) -> Func:
    """Return an SQL row value, so that `(at, id) < (x, y)` is one range of the index.

    SQLite seeks by `at` alone, and then passes over the rows of the very same microsecond.
    """
    return Func(*columns, template="(%(expressions)s)", output_field=TextField())


def _mac_writer() -> Callable[[bytes], bytes]:
    key = hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"keyset cursor").digest()
    return lambda data: hashlib.blake2b(data, key=key, digest_size=_MAC_BYTES).digest()
