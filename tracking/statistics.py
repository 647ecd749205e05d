"""Counting the record: how many requests, from how many addresses, how many of them errors.

Which rows, and by what to group them, is the caller's; one SQL statement answers. It is written
out because the ORM has no words for its two steps: splitting a row's words into rows of their own,
and keeping only the largest groups with all of their buckets of time.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, Q, QuerySet, TextField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import NullIf

from tracking.durations import UNKNOWN, bar_of, joined_bars, percentiles
from tracking.models import RequestLog

MOST_ROWS = 10_000
FIRST_ERROR = 400


class Dimension(enum.StrEnum):
    """What requests can be grouped by."""

    ADDRESS = "ADDRESS"
    NETWORK = "NETWORK"
    COUNTRY = "COUNTRY"
    ASN = "ASN"
    PATH = "PATH"
    METHOD = "METHOD"
    STATUS_CLASS = "STATUS_CLASS"
    USER = "USER"
    AGENT_FAMILY = "AGENT_FAMILY"
    OPERATION = "OPERATION"
    VERDICT = "VERDICT"
    SOURCE = "SOURCE"
    TAG = "TAG"


class Interval(enum.StrEnum):
    """How wide a bucket of time is; buckets begin on whole minutes, hours and days of UTC."""

    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"


class TooManyRows(Exception):
    """The answer would have more than MOST_ROWS rows."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One group: its value of each dimension asked for (None: unknown) and what was counted.

    `percentiles` are those of tracking.durations, in ms; None where unknown or not asked for.
    """

    values: tuple[str | None, ...]
    bucket_start: datetime | None
    count: int
    unique_addresses: int
    error_rate: float
    percentiles: tuple[float | None, ...] = UNKNOWN


# The first word found in a user agent, ignoring letter case, decides. Robots stand first because
# they name the browser they render with; of the browsers, those that also name another's engine.
AGENT_FAMILIES: tuple[tuple[str, str], ...] = (
    ("bot", "Robot"),
    ("crawl", "Robot"),
    ("spider", "Robot"),
    ("slurp", "Robot"),
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("python", "Python"),
    ("go-http-client", "Go"),
    ("okhttp", "Java"),
    ("java/", "Java"),
    ("edg", "Edge"),
    ("opr/", "Opera"),
    ("opera", "Opera"),
    ("firefox/", "Firefox"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
    ("msie ", "Internet Explorer"),
    ("trident/", "Internet Explorer"),
)


class _Text(Func):
    """An expression with its own SQL for each store; `sqlite` and `postgresql` are templates."""

    output_field = TextField()

    def __init__(self, column: str, sqlite: str, postgresql: str) -> None:
        super().__init__(F(column), sqlite=sqlite, postgresql=postgresql)

    def as_sql(  # type: ignore[override]
        self, compiler: Any, connection: BaseDatabaseWrapper, **extra: Any
    ) -> Any:
        template = self.extra["postgresql" if connection.vendor == "postgresql" else "sqlite"]
        return super().as_sql(compiler, connection, template=template)


_WORDS = {Dimension.OPERATION, Dimension.TAG}
_COLUMNS: dict[Dimension, Combinable] = {
    # The plus keeps SQLite from reading the whole index of addresses for a short span of time.
    Dimension.ADDRESS: _Text("address", "+%(expressions)s", "host(%(expressions)s)"),
    Dimension.NETWORK: _Text(
        "address",
        "substr(%(expressions)s, 1,"
        " CASE substr(%(expressions)s, 1, 1) WHEN '4' THEN 7 ELSE 17 END)",
        "network(set_masklen(%(expressions)s,"
        " CASE family(%(expressions)s) WHEN 4 THEN 24 ELSE 64 END))::text",
    ),
    Dimension.COUNTRY: NullIf("country", Value("")),
    Dimension.ASN: F("asn"),
    Dimension.PATH: F("path"),
    Dimension.METHOD: F("method"),
    Dimension.STATUS_CLASS: _Text(
        "status", "(%(expressions)s / 100) || 'xx'", "(%(expressions)s / 100) || 'xx'"
    ),
    Dimension.USER: NullIf("username", Value("")),
    Dimension.AGENT_FAMILY: Case(
        When(user_agent="", then=Value(None)),
        *(When(Q(user_agent__icontains=word), then=Value(name)) for word, name in AGENT_FAMILIES),
        default=Value("Other"),
        output_field=TextField(),
    ),
    Dimension.OPERATION: F("operations"),
    Dimension.VERDICT: F("verdict"),
    Dimension.SOURCE: F("source"),
    Dimension.TAG: F("tags"),
}
BUCKETS: dict[Interval, Combinable] = {
    # SQLite keeps times as text, of which a bucket is the beginning.
    Interval.MINUTE: _Text(
        "at", "substr(%(expressions)s, 1, 16)", "date_trunc('minute', %(expressions)s, 'UTC')"
    ),
    Interval.HOUR: _Text(
        "at", "substr(%(expressions)s, 1, 13)", "date_trunc('hour', %(expressions)s, 'UTC')"
    ),
    Interval.DAY: _Text(
        "at", "substr(%(expressions)s, 1, 10)", "date_trunc('day', %(expressions)s, 'UTC')"
    ),
}


def count_requests(
    rows: QuerySet[RequestLog],
    group_by: Sequence[Dimension],
    interval: Interval | None,
    top: int,
    with_percentiles: bool = False,
) -> list[Statistic]:
    """Return the `top` largest groups of `rows`, the largest first.

    With an interval each of these groups has one entry per bucket that holds requests, in order
    of time. A request with several tags or operations counts in the group of each. Without
    dimensions there is one group. Raises TooManyRows.
    """
    connection = connections[rows.db]
    try:
        sql, parameters = _statement(rows, group_by, interval, with_percentiles, connection)
    except EmptyResultSet:  # Django knows that no row can match
        return [] if group_by or interval else [Statistic((), None, 0, 0, 0.0)]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*parameters, top, MOST_ROWS + 1])
        found = cursor.fetchall()
    if len(found) > MOST_ROWS:
        raise TooManyRows
    return [_statistic(values, group_by) for values in found]


def _statement(
    rows: QuerySet[RequestLog],
    group_by: Sequence[Dimension],
    interval: Interval | None,
    with_percentiles: bool,
    connection: BaseDatabaseWrapper,
) -> tuple[str, Sequence[Any]]:
    """Return the SQL, whose last two parameters are how many groups and how many rows."""
    columns: dict[str, Any] = {f"d{place}": _COLUMNS[name] for place, name in enumerate(group_by)}
    if interval:
        columns["bucket"] = BUCKETS[interval]
    read = ["id", "address", "status", *(["duration_ms"] if with_percentiles else [])]
    inner = rows.order_by().annotate(**columns).values(*read, *columns)
    sql, parameters = inner.query.get_compiler(connection=connection).as_sql()
    words = [place for place, name in enumerate(group_by) if name in _WORDS]
    shown = [f"w{n}.value" if n in words else f"r.d{n}" for n in range(len(group_by))]
    bucket = "r.bucket" if interval else "NULL"
    # A word that a row names twice would make two rows of it.
    one = "DISTINCT r.id" if words else "r.id"
    bars = "NULL"
    if with_percentiles:
        bar = bar_of("r.duration_ms", connection.vendor)
        bars = joined_bars(bar, "r.id" if words else None, connection.vendor)
    aliases = "".join(f", d{place}" for place in range(len(group_by)))
    return (
        f"SELECT bucket, n, addresses, errors, bars{aliases} FROM ("  # noqa: S608 - our own names
        f" SELECT g.*, DENSE_RANK() OVER (ORDER BY total DESC{aliases}) AS place FROM ("
        f"  SELECT {bucket} AS bucket, COUNT({one}) AS n,"
        "   COUNT(DISTINCT r.address) AS addresses,"
        f"  COUNT({one.removesuffix('r.id')}CASE WHEN r.status >= {FIRST_ERROR} THEN r.id END)"
        f"   AS errors, {bars} AS bars,"
        f"  SUM(COUNT({one})) OVER ({_clause('PARTITION BY', shown)}) AS total"
        + "".join(f", {column} AS d{place}" for place, column in enumerate(shown))
        + f"  FROM ({sql}) r"
        + "".join(_split(place, connection) for place in words)
        + f"  {_clause('GROUP BY', [*shown, bucket] if interval else shown)}) g) h"
        " WHERE place <= %s ORDER BY place, bucket LIMIT %s",
        parameters,
    )


def _clause(words: str, columns: Sequence[str]) -> str:
    return f"{words} {', '.join(columns)}" if columns else ""


def _split(place: int, connection: BaseDatabaseWrapper) -> str:
    """Return the join that makes one row of each word, and one with NULL where there is none."""
    if connection.vendor == "postgresql":
        words = f"LATERAL unnest(string_to_array(btrim(r.d{place}), ' ')) AS w{place}(value)"
        return f" LEFT JOIN {words} ON TRUE"
    quoted = f"""'[' || replace(json_quote(trim(r.d{place})), ' ', '","') || ']'"""
    return f" LEFT JOIN json_each({quoted}) AS w{place} ON r.d{place} <> ''"


def _statistic(values: Sequence[Any], group_by: Sequence[Dimension]) -> Statistic:
    bucket, count, addresses, errors, bars, *groups = values
    if isinstance(bucket, str):
        bucket = datetime.fromisoformat(bucket).replace(tzinfo=UTC)
    return Statistic(
        tuple(_shown(value, name) for value, name in zip(groups, group_by, strict=True)),
        bucket,
        count,
        addresses,
        errors / count if count else 0.0,
        percentiles(bars, are_numbered=not _WORDS.isdisjoint(group_by)),
    )


def _shown(value: Any, name: Dimension) -> str | None:
    if value is None:
        return None
    if name is Dimension.ADDRESS and "." not in value and ":" not in value:  # SQLite's own form
        return str(ipaddress.ip_address(bytes.fromhex(value[1:])))
    if name is Dimension.NETWORK and "/" not in value:
        packed, bits = (4, 24) if value[0] == "4" else (16, 64)
        start = bytes.fromhex(value[1:]).ljust(packed, b"\x00")
        return f"{ipaddress.ip_address(start)}/{bits}"
    return str(value)
