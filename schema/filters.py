"""Which requests are asked for: the filter as the caller writes it, and as a condition on rows.

A field that is absent or null asks nothing. An empty list of values allows no value, so nothing
matches; an empty AND is true and an empty OR is false. Text is compared exactly, letter case
included, on every database.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, TypeGuard, TypeVar

import strawberry
from django.db.models import F, Q, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex
from django.db.models.lookups import Exact, GreaterThan

from schema.errors import bad_input
from schema.scalars import CountryCode, IPAddress, IPNetwork
from tracking import ipstorage
from tracking.engine.address import parse_address, parse_network, shown
from tracking.engine.verdict import VerdictKind as Kind
from tracking.fields import bounds

T = TypeVar("T")

DEEPEST = 5
MOST_CONDITIONS = 200
LONGEST_TEXT = 2048
CONTAINS_WINDOW = timedelta(hours=24)

# The conditions of two partial indexes, word for word and without parameters: SQLite uses such an
# index only where it finds its condition in the query.
_REFUSED = ~Q(verdict=RawSQL("'ALLOWED'", ()))
_TAGGED = ~Q(tags=RawSQL("''", ()))


@strawberry.enum(description="What was decided about a request.")
class VerdictKind(enum.Enum):
    ALLOWED = strawberry.enum_value(Kind.ALLOWED.value, description="It was let through.")
    BLOCKED = strawberry.enum_value(Kind.BLOCKED.value, description="A rule refused it.")
    LIMITED = strawberry.enum_value(Kind.LIMITED.value, description="A rate limit refused it.")
    OBSERVED = strawberry.enum_value(
        Kind.OBSERVED.value, description="It was let through, though a rule or limit would refuse."
    )


@strawberry.input(description="A span of time; a side that is left out is open.")
class DateTimeRange:
    gte: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="At this moment or later."
    )
    lt: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Before this moment."
    )


@strawberry.input(description="A span of whole numbers; a side that is left out is open.")
class IntRange:
    gte: int | None = strawberry.field(default=strawberry.UNSET, description="This number or more.")
    lte: int | None = strawberry.field(default=strawberry.UNSET, description="This number or less.")


@strawberry.input(description="What a path looks like, as it was sent; letter case counts.")
class PathFilter:
    starts_with: str | None = strawberry.field(
        default=strawberry.UNSET, description="The path begins with this text."
    )
    contains: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="This text stands anywhere in the path. No index can answer that, so only the"
        " last 24 hours are searched, unless the filter has a time of its own in `at`.",
    )


@strawberry.input(
    description="Which requests: all of its fields must hold. Fields left out or null ask nothing;"
    " an empty list of values matches nothing. Filters nest at most 5 deep, and hold at most 200"
    " conditions and listed values together."
)
class RequestLogFilter:
    at: DateTimeRange | None = strawberry.field(
        default=strawberry.UNSET, description="When the request came."
    )
    address: IPAddress | None = strawberry.field(
        default=strawberry.UNSET, description="The client's address."
    )
    network: IPNetwork | None = strawberry.field(
        default=strawberry.UNSET, description="A network that holds the client's address."
    )
    country: list[CountryCode] | None = strawberry.field(
        default=strawberry.UNSET, description="The client's country is one of these."
    )
    asn: list[int] | None = strawberry.field(
        default=strawberry.UNSET, description="The client's autonomous system is one of these."
    )
    method: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="The HTTP method is one of these, such as GET."
    )
    status: IntRange | None = strawberry.field(
        default=strawberry.UNSET, description="The HTTP status of the answer."
    )
    path: PathFilter | None = strawberry.field(
        default=strawberry.UNSET, description="The path that was asked for."
    )
    username: str | None = strawberry.field(
        default=strawberry.UNSET, description="The name of the signed-in user; empty for none."
    )
    operation: str | None = strawberry.field(
        default=strawberry.UNSET, description="A GraphQL operation name or root field it asked for."
    )
    verdict: list[VerdictKind] | None = strawberry.field(
        default=strawberry.UNSET, description="What was decided is one of these."
    )
    source: str | None = strawberry.field(
        default=strawberry.UNSET, description="Where the row came from: live, or the log's name."
    )
    tag: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="At least one of these tags was recognised in it."
    )
    all_of: list[RequestLogFilter] | None = strawberry.field(
        name="AND", default=strawberry.UNSET, description="Every one of these holds."
    )
    any_of: list[RequestLogFilter] | None = strawberry.field(
        name="OR", default=strawberry.UNSET, description="At least one of these holds."
    )
    none_of: RequestLogFilter | None = strawberry.field(
        name="NOT", default=strawberry.UNSET, description="This does not hold."
    )


def matching(asked: RequestLogFilter | None, now: datetime) -> Q:
    """Return the condition on RequestLog rows, which `now` bounds where `contains` is used.

    Raises Refusal BAD_USER_INPUT for filters too deep or too big, and for text no row can hold.
    """
    if not asked:
        return Q()
    _check_size(asked)
    condition = _condition(asked)
    used = list(_every(asked))
    if any(part.path and _given(part.path.contains) for part in used) and not any(
        part.at and (part.at.gte or part.at.lt) for part in used
    ):
        condition &= Q(at__gte=now - CONTAINS_WINDOW)
    return condition


def _condition(asked: RequestLogFilter) -> Q:
    condition = Q()
    for part in _parts(asked):
        condition &= part
    return condition


def _parts(asked: RequestLogFilter) -> Iterator[Q]:
    yield from _origin(asked)
    yield from _demand(asked)
    if _given(asked.all_of):
        yield from map(_condition, asked.all_of)
    if _given(asked.any_of):
        yield _either(map(_condition, asked.any_of))
    if _given(asked.none_of):
        condition = _condition(asked.none_of)
        yield ~condition if condition else _nothing()


def _origin(asked: RequestLogFilter) -> Iterator[Q]:
    """Yield the conditions on when a request came, and from whom."""
    if asked.at:
        yield from _range("at", "gte", asked.at.gte)
        yield from _range("at", "lt", asked.at.lt)
    if _given(asked.address):
        yield ipstorage.at(parse_address(asked.address))
    if _given(asked.network):
        yield Q(address__range=bounds(parse_network(asked.network)))
    if _given(asked.country):
        yield Q(country__in=asked.country)
    if _given(asked.asn):
        yield Q(asn__in=asked.asn)
    if _given(asked.username):
        yield Q(username=searchable(asked.username, "username"))
    if _given(asked.source):
        yield Q(source=searchable(asked.source, "source"))


def _demand(asked: RequestLogFilter) -> Iterator[Q]:
    """Yield the conditions on what was asked for and how it was answered."""
    if _given(asked.method):
        yield Q(method__in=[searchable(method, "method") for method in asked.method])
    if asked.status:
        yield from _range("status", "gte", asked.status.gte)
        yield from _range("status", "lte", asked.status.lte)
    if asked.path:
        yield from _path(asked.path)
    if _given(asked.operation):
        yield _word("operations", asked.operation, "operation")
    if _given(asked.verdict):
        yield Q(verdict__in=[kind.value for kind in asked.verdict])
        if VerdictKind.ALLOWED not in asked.verdict:
            yield _REFUSED
    if _given(asked.tag):
        yield _either(_word("tags", tag, "tag") for tag in asked.tag)
        yield _TAGGED


def _range(column: str, lookup: str, value: object) -> Iterator[Q]:
    if _given(value):
        yield Q((f"{column}__{lookup}", value))


def _path(asked: PathFilter) -> Iterator[Q]:
    # Not the lookups startswith and contains: on SQLite they ignore letter case.
    if _given(asked.starts_with):
        start = searchable(asked.starts_with, "path.startsWith")
        yield Q(Exact(StrIndex(F("path"), _text(start)), 1)) if start else Q()
    if _given(asked.contains):
        yield containing("path", asked.contains, "path.contains")


def containing(column: str, text: str, name: str) -> Q:
    """Return the condition that a column holds a text; raises Refusal naming the argument."""
    part = searchable(text, name)
    return Q(GreaterThan(StrIndex(F(column), _text(part)), 0)) if part else Q()


def _word(column: str, word: str, name: str) -> Q:
    if not searchable(word, name) or word.split() != [word]:
        raise bad_input(f"{name}: {shown(word)} is not one word without spaces.")
    return Q(GreaterThan(StrIndex(F(column), _text(f" {word} ")), 0))


def _text(text: str) -> Value:
    return Value(text, output_field=TextField())


def _either(conditions: Iterable[Q]) -> Q:
    """Return the disjunction; one that is always true makes it so, and none makes it false."""
    either = _nothing()
    for condition in conditions:
        if not condition:
            return Q()
        either |= condition
    return either


def _nothing() -> Q:
    return Q(pk__in=[])


def searchable(text: str, name: str) -> str:
    """Return text that a row can hold; raises Refusal BAD_USER_INPUT naming the argument."""
    if len(text) > LONGEST_TEXT:
        raise bad_input(f"{name}: at most {LONGEST_TEXT} characters, not {len(text)}.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise bad_input(f"{name}: NUL characters and unpaired surrogates are never stored.")
    return text


def _given(value: T | None) -> TypeGuard[T]:
    return value is not None and value is not strawberry.UNSET


def _every(asked: RequestLogFilter) -> Iterator[RequestLogFilter]:
    yield asked
    for nested in _nested(asked):
        yield from _every(nested)


def _nested(asked: RequestLogFilter) -> list[RequestLogFilter]:
    return [
        *(asked.all_of or []),
        *(asked.any_of or []),
        *([asked.none_of] if asked.none_of else []),
    ]


def _check_size(asked: RequestLogFilter, depth: int = 1) -> int:
    """Return how many conditions and values there are; raises Refusal BAD_USER_INPUT."""
    if depth > DEEPEST:
        raise bad_input(f"filter: at most {DEEPEST} filters may be nested in one another.")
    size = sum(len(nested) if isinstance(nested, list) else 1 for nested in _values(asked))
    size += sum(_check_size(nested, depth + 1) for nested in _nested(asked))
    if size > MOST_CONDITIONS:
        raise bad_input(
            f"filter: at most {MOST_CONDITIONS} conditions and listed values together. A network"
            " often says the same as many addresses."
        )
    return size


def _values(asked: RequestLogFilter) -> Iterator[Any]:
    for field in fields(asked):
        value = getattr(asked, field.name)
        if _given(value):
            yield value
