"""The record of requests: the GraphQL types, and the list that pages through it.

The types are plain objects filled from tuples, not Django rows: a page of 50 has some 600 fields,
and each detour per field is paid as often.
"""

from __future__ import annotations

import enum
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from time import monotonic
from typing import Annotated, Any

import strawberry
from django.db.models import QuerySet
from django.utils import timezone
from strawberry import relay
from strawberry.types import Info

from schema.budget import budget_of, within_budget
from schema.filters import RequestLogFilter, VerdictKind, matching
from schema.keyset import DEFAULT_PAGE, LARGEST_PAGE, Page, cursor_writer, paging, read_page
from schema.permissions import require
from schema.rules import LARGEST_INT, AccessRule, RuleBatch
from schema.scalars import CountryCode, IPAddress
from tracking.models import RequestLog as Row
from tracking.timebudget import OutOfTime

PERMISSION = "tracking.view_requestlog"
MOST_COUNTED = 10_000
COUNT_SECONDS = 0.01  # counting makes no page more than five times as dear
NARROW = "narrow the filter, best with `at`, `address` or `network`, and leave out `path.contains`"

SIZES = f"1 to {LARGEST_PAGE}; {DEFAULT_PAGE} when neither first nor last is given"

# What a page reads, in the order of RequestLog.of; keyset paging wants `at` and `id` first.
COLUMNS = (
    "at", "id", "address", "method", "host", "path", "query", "status", "duration_ms", "country",
    "city", "asn", "username", "user_agent", "referer", "request_id", "operations", "verdict",
    "limit", "tags", "source", "rule_id",
)  # fmt: skip


@strawberry.type(description="One recorded request, and how it was answered.")
class RequestLog(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(  # relay's own costs a resolver call per row
        name="id", description="The global id, for `node`."
    )
    at: datetime = strawberry.field(description="When the request came.")
    address: IPAddress = strawberry.field(description="The client's address.")
    method: str = strawberry.field(description="The HTTP method.")
    host: str = strawberry.field(description="The host that was asked, as the client named it.")
    path: str = strawberry.field(
        description="The path as it was sent, without its query string, escaped where needed."
    )
    query: str = strawberry.field(
        description="The query string, its secrets redacted; empty unless query strings are"
        " recorded (see `serverInfo.queryStringRecorded`)."
    )
    status: int = strawberry.field(description="The HTTP status of the answer.")
    duration_ms: float = strawberry.field(
        description="How long the answer took, in milliseconds; 0 where the source does not say."
    )
    country: CountryCode | None = strawberry.field(
        description="The country of the address; null when unknown."
    )
    city: str | None = strawberry.field(description="The city of the address; null when unknown.")
    asn: int | None = strawberry.field(
        description="The autonomous system of the address; null when unknown, and for private-use"
        " numbers above 2147483647, which Int cannot carry (group by ASN shows them)."
    )
    username: str | None = strawberry.field(
        description="The signed-in user's name at the time; null for nobody."
    )
    user_agent: str = strawberry.field(description="What the client says it is; may be empty.")
    referer: str = strawberry.field(
        description="The page the client says it came from; may be empty."
    )
    request_id: strawberry.ID = strawberry.field(
        description="The id that was returned to the client in a header."
    )
    operations: list[str] = strawberry.field(
        description="The GraphQL operation names and root fields the request asked for."
    )
    verdict: VerdictKind = strawberry.field(description="What was decided about the request.")
    limit: str | None = strawberry.field(
        description="The name of the limit that decided; null where none did."
    )
    tags: list[str] = strawberry.field(description="Attack families recognised in the request.")
    source: str = strawberry.field(
        description="Where the row came from: live, or the name of an ingested log."
    )
    rule_pk: strawberry.Private[int | None]
    rules: strawberry.Private[RuleBatch]

    @strawberry.field(
        description="The rule that decided, or would have; null where none did. Needs the"
        " permission tracking.view_accessrule."
    )
    def rule(self, info: Info) -> AccessRule | None:
        return self.rules.get(info, self.rule_pk)

    @classmethod
    def of(cls, values: tuple[Any, ...], rules: RuleBatch) -> RequestLog:
        """Return the node of one row's COLUMNS; empty text means unknown where null is allowed.

        `rules` are those of all rows of the page.
        """
        (
            at, pk, address, method, host, path, query, status, duration_ms, country,
            city, asn, username, user_agent, referer, request_id, operations, verdict,
            limit, tags, source, rule,
        ) = values  # fmt: skip
        return cls(
            pk=pk,
            _id=strawberry.ID(b64encode(b"RequestLog:%d" % pk).decode()),
            at=at,
            address=address,
            method=method,
            host=host,
            path=path,
            query=query,
            status=status,
            duration_ms=duration_ms,
            country=country or None,
            city=city or None,
            asn=asn if asn is None or asn <= LARGEST_INT else None,
            username=username or None,
            user_agent=user_agent,
            referer=referer,
            request_id=request_id,
            operations=operations,
            verdict=verdict,
            limit=limit or None,
            tags=tags,
            source=source,
            rule_pk=rule,
            rules=rules,
        )

    @classmethod
    def page(cls, rows: Sequence[tuple[Any, ...]]) -> list[RequestLog]:
        """Return the nodes of rows that are shown together."""
        rules = RuleBatch(values[-1] for values in rows)
        return [cls.of(values, rules) for values in rows]


@strawberry.type(description="A request in its place in the list.")
class RequestLogEdge:
    cursor: str = strawberry.field(description="Where this request stands, for after and before.")
    node: RequestLog = strawberry.field(description="The request.")


@strawberry.type(description="How many there are.")
class Count:
    value: int = strawberry.field(description="The number, or the least it can be: see exact.")
    exact: bool = strawberry.field(description="False when there are at least so many.")


@strawberry.type(description="One page of requests.")
class RequestLogConnection:
    edges: list[RequestLogEdge] = strawberry.field(
        description="The requests with their cursors, in the order of the list."
    )
    nodes: list[RequestLog] = strawberry.field(
        description="The requests alone, in the order of the list."
    )
    page_info: relay.PageInfo = strawberry.field(description="How to go on from this page.")
    rows: strawberry.Private[QuerySet[Row, Any]]
    seconds: strawberry.Private[float]

    @strawberry.field(
        description="How many requests the filter matches; counted only when asked for. Counting"
        " stops at 10,000, or when it takes much longer than the page did; then `value` is what"
        " is known to be there and `exact` is false."
    )
    def total_count(self, info: Info) -> Count | None:
        allowed = max(COUNT_SECONDS, 4 * self.seconds)
        try:
            with budget_of(info).spending(at_most=allowed):
                value = self.rows.values("pk")[: MOST_COUNTED + 1].count()
        except OutOfTime:
            unseen = int(self.page_info.has_next_page) + int(self.page_info.has_previous_page)
            return Count(value=len(self.nodes) + unseen, exact=False)
        return Count(value=min(value, MOST_COUNTED), exact=value <= MOST_COUNTED)


def connection(page: Page, rows: QuerySet[Row], seconds: float) -> RequestLogConnection:
    """Return a page as GraphQL shows it; `seconds` is what reading it took."""
    write = cursor_writer()
    edges = [
        RequestLogEdge(cursor=write(node.at, node.pk), node=node)
        for node in RequestLog.page(page.rows)
    ]
    return RequestLogConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=relay.PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        rows=rows,
        seconds=seconds,
    )


def requests_by_id(info: Info, pks: Iterable[int]) -> dict[int, RequestLog]:
    """Return the requests that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    found = Row.objects.filter(pk__in=list(pks)).values_list(*COLUMNS)
    return {node.pk: node for node in RequestLog.page(list(found))}


@strawberry.enum(description="What the list of requests can be ordered by.")
class RequestLogOrderField(enum.Enum):
    AT = strawberry.enum_value("AT", description="The time; equal times by the row's number.")


@strawberry.enum(description="Which end of the list comes first.")
class OrderDirection(enum.Enum):
    ASC = strawberry.enum_value("ASC", description="The smallest or oldest first.")
    DESC = strawberry.enum_value("DESC", description="The largest or newest first.")


@strawberry.input(description="The order of the list of requests.")
class RequestLogOrder:
    field: RequestLogOrderField = strawberry.field(
        default=RequestLogOrderField.AT, description="What to order by."
    )
    direction: OrderDirection = strawberry.field(
        default=OrderDirection.DESC, description="Which end comes first."
    )


# As a caller would write it: graphql-core reads defaults like input.
NEWEST_FIRST: Any = {"field": "AT", "direction": "DESC"}


@strawberry.type
class RequestQueries:
    @strawberry.field(
        description="The recorded requests, newest first unless `order` says otherwise. Needs the"
        f" permission {PERMISSION}."
    )
    def request_logs(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            RequestLogFilter | None, strawberry.argument(description="Which requests.")
        ] = strawberry.UNSET,
        order: Annotated[
            RequestLogOrder | None, strawberry.argument(description="In which order.")
        ] = NEWEST_FIRST,
        first: Annotated[
            int | None, strawberry.argument(description=f"So many from the start, {SIZES}.")
        ] = strawberry.UNSET,
        after: Annotated[
            str | None, strawberry.argument(description="Only what follows this cursor.")
        ] = strawberry.UNSET,
        last: Annotated[
            int | None, strawberry.argument(description=f"So many from the end, {SIZES}.")
        ] = strawberry.UNSET,
        before: Annotated[
            str | None, strawberry.argument(description="Only what precedes this cursor.")
        ] = strawberry.UNSET,
    ) -> RequestLogConnection | None:
        require(info, PERMISSION)
        asked = paging(first, after, last, before)
        rows = Row.objects.filter(matching(filter, timezone.now()))
        ascending = (order or RequestLogOrder()).direction is OrderDirection.ASC
        started = monotonic()
        with within_budget(info, NARROW):
            page = read_page(rows.values_list(*COLUMNS), asked, ascending)
        return connection(page, rows, monotonic() - started)
