"""Requests counted in groups."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import strawberry
from django.utils import timezone
from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo, SelectionSetNode
from strawberry.types import Info

from schema.budget import budget_of, out_of_time
from schema.canonical import canonical
from schema.errors import Code, Refusal, bad_input
from schema.filters import RequestLogFilter, matching
from schema.permissions import require
from tracking import statistics
from tracking.buckets import Span
from tracking.models import RequestLog
from tracking.questions import Question
from tracking.timebudget import OutOfTime

PERMISSION = "tracking.view_requestlog"
DEFAULT_GROUPS = 50
MOST_GROUPS = 10_000
MOST_DIMENSIONS = 4
PERCENTILES = frozenset({"p50Ms", "p95Ms", "p99Ms"})
HOW = (
    " in milliseconds, to within 2.5 % (it comes from a histogram on a logarithmic scale, from 1"
    " microsecond to 28 hours); null where no duration is known. Computed only when asked for."
)
NARROW = "narrow the filter, best with a shorter `at`, or group by fewer dimensions"


@strawberry.enum(description="What requests can be grouped by.")
class RequestDimension(enum.Enum):
    ADDRESS = strawberry.enum_value("ADDRESS", description="The client's address.")
    NETWORK = strawberry.enum_value(
        "NETWORK", description="The /24 of an IPv4 address, the /64 of an IPv6 one."
    )
    COUNTRY = strawberry.enum_value("COUNTRY", description="The country; null when unknown.")
    ASN = strawberry.enum_value("ASN", description="The autonomous system; null when unknown.")
    PATH = strawberry.enum_value("PATH", description="The path as it was sent.")
    METHOD = strawberry.enum_value("METHOD", description="The HTTP method.")
    STATUS_CLASS = strawberry.enum_value("STATUS_CLASS", description="2xx, 3xx, 4xx or 5xx.")
    USER = strawberry.enum_value("USER", description="The signed-in user; null for nobody.")
    AGENT_FAMILY = strawberry.enum_value(
        "AGENT_FAMILY",
        description="What the user agent says it is: Robot, a browser (Chrome, Firefox, Safari,"
        " Edge, Opera, Internet Explorer), a tool (curl, Wget, Python, Go, Java) or Other; null"
        " when it says nothing. Anybody can claim to be anything.",
    )
    OPERATION = strawberry.enum_value(
        "OPERATION",
        description="A GraphQL operation name or root field; a request counts for each it has, and"
        " under null when it has none.",
    )
    VERDICT = strawberry.enum_value("VERDICT", description="What was decided about it.")
    SOURCE = strawberry.enum_value("SOURCE", description="live, or the name of an ingested log.")
    TAG = strawberry.enum_value(
        "TAG",
        description="An attack family; a request counts for each it has, and under null when it"
        " has none.",
    )


@strawberry.enum(description="How wide a bucket of time is.")
class Interval(enum.Enum):
    MINUTE = strawberry.enum_value("MINUTE", description="From a whole minute to the next.")
    HOUR = strawberry.enum_value("HOUR", description="From a whole hour (UTC) to the next.")
    DAY = strawberry.enum_value("DAY", description="From midnight to midnight, UTC.")


@strawberry.type(description="The value a group has of one dimension.")
class DimensionValue:
    dimension: RequestDimension = strawberry.field(description="Which dimension.")
    value: str | None = strawberry.field(description="Its value; null when unknown or none.")


@strawberry.type(description="A group of requests, counted.")
class RequestStat:
    dimensions: list[DimensionValue] = strawberry.field(
        description="What the group has in common, in the order of groupBy."
    )
    bucket_start: datetime | None = strawberry.field(
        description="Where the group's bucket of time begins; null without interval."
    )
    count: int = strawberry.field(description="How many requests.")
    unique_addresses: int = strawberry.field(description="From how many different addresses.")
    error_rate: float = strawberry.field(
        description="The share, 0 to 1, that was answered with status 400 or above."
    )
    p50_ms: float | None = strawberry.field(
        description="What half of the requests did not take longer than," + HOW
    )
    p95_ms: float | None = strawberry.field(
        description="What 95 % of the requests did not take longer than," + HOW
    )
    p99_ms: float | None = strawberry.field(
        description="What 99 % of the requests did not take longer than," + HOW
    )


@strawberry.type
class StatisticsQueries:
    @strawberry.field(
        description="Requests counted in groups, the largest group first. With interval each group"
        " has one entry for each bucket of time, in order of time, also for those without requests:"
        " from the `gte` of the filter's own `at`, or else the first bucket of the answer that has"
        " requests, to its `lt`, or else now. Buckets are whole minutes, hours or days; of the"
        " first and the last one only the part inside `at` is counted. All such fields of a"
        f" request together have at most {statistics.MOST_ROWS} entries. An answer may be as old as"
        " the service keeps it, 10 seconds unless its operator says otherwise"
        " (CACHE_TTL_STATISTICS): equal questions are counted once in that time. Needs the"
        f" permission {PERMISSION}."
    )
    def request_stats(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            RequestLogFilter | None, strawberry.argument(description="Which requests.")
        ] = strawberry.UNSET,
        group_by: Annotated[
            list[RequestDimension],
            strawberry.argument(
                description=f"At most {MOST_DIMENSIONS} different dimensions; none: one group."
            ),
        ] = [],  # noqa: B006 - Strawberry prints it as the default
        interval: Annotated[
            Interval | None, strawberry.argument(description="Split groups into buckets of time.")
        ] = strawberry.UNSET,
        top: Annotated[
            int,
            strawberry.argument(description=f"How many groups, the largest; 1 to {MOST_GROUPS}."),
        ] = DEFAULT_GROUPS,
        fill_gaps: Annotated[
            bool,
            strawberry.argument(
                description="With interval: whether buckets without requests have entries, too;"
                " their count, uniqueAddresses and errorRate are 0, their percentiles null. A group"
                " without any request is never there."
            ),
        ] = True,
    ) -> list[RequestStat] | None:
        require(info, PERMISSION)
        if not 1 <= top <= MOST_GROUPS:
            raise bad_input(f"top must be from 1 to {MOST_GROUPS}, not {top}.")
        if len(set(group_by)) != len(group_by) or len(group_by) > MOST_DIMENSIONS:
            raise bad_input(f"groupBy: at most {MOST_DIMENSIONS} dimensions, each named once.")
        now = timezone.now()
        question = Question(
            requests=RequestLog.objects.filter(matching(filter, now)),
            which=f"{PERMISSION} {canonical(filter)}",
            group_by=tuple(statistics.Dimension[dimension.name] for dimension in group_by),
            interval=statistics.Interval[interval.name] if interval else None,
            top=top,
            with_percentiles=not PERCENTILES.isdisjoint(
                _asked(info._raw_info)  # noqa: SLF001 - Strawberry has no other way
            ),
        )
        span = _span(filter) if fill_gaps else None
        return [_shown(each, group_by) for each in _answered(info, question, span)]


def _span(asked: RequestLogFilter | None) -> Span:
    """Return the span of time that a filter's own `at` says."""
    at = asked.at if asked else None
    return Span(since=(at.gte or None) if at else None, until=(at.lt or None) if at else None)


def _answered(info: Info, question: Question, span: Span | None) -> list[statistics.Statistic]:
    request = info.context.request
    try:
        found = question.answer(budget_of(info), span)
        request.statistics_entries = getattr(request, "statistics_entries", 0) + len(found)
        if request.statistics_entries > statistics.MOST_ROWS:
            raise statistics.TooManyRows
        return found
    except OutOfTime:
        raise out_of_time(NARROW) from None
    except statistics.TooManyRows:
        raise Refusal(
            Code.QUERY_TOO_COSTLY,
            f"This has more than {statistics.MOST_ROWS} entries: ask for fewer groups"
            " (top), a wider interval, a shorter `at`, or no entries for empty buckets"
            " (fillGaps: false).",
        ) from None


def _asked(raw: GraphQLResolveInfo) -> set[str]:
    """Return the names of the fields that are asked for below this one, in fragments too.

    Not Strawberry's `selected_fields`: it fails on fragments without a type.
    """
    seen: set[str] = set()

    def names(selected: SelectionSetNode | None) -> Iterator[str]:
        for node in selected.selections if selected else ():
            if isinstance(node, FieldNode):
                yield node.name.value
            elif not isinstance(node, FragmentSpreadNode):
                yield from names(node.selection_set)  # type: ignore[attr-defined]
            elif node.name.value not in seen:
                seen.add(node.name.value)
                yield from names(raw.fragments[node.name.value].selection_set)

    return {name for node in raw.field_nodes for name in names(node.selection_set)}


def _shown(statistic: statistics.Statistic, group_by: list[RequestDimension]) -> RequestStat:
    p50, p95, p99 = statistic.percentiles
    return RequestStat(
        dimensions=[
            DimensionValue(dimension=dimension, value=value)
            for dimension, value in zip(group_by, statistic.values, strict=True)
        ],
        bucket_start=statistic.bucket_start,
        count=statistic.count,
        unique_addresses=statistic.unique_addresses,
        error_rate=statistic.error_rate,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )
