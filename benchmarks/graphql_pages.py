"""Reading pages of the record over GraphQL: this service beside a stock Strawberry-Django schema.

Both answer the same question (50 requests, 11 fields, relay edges) through their own view, in one
process, in interleaved rounds; the figures are CPU time, that of SQLite included. Deeper pages are
asked behind a cursor here, and by offset of the stock schema, whose list connection has no other
way to jump. The rows are made by SQL in a SQLite file of its own, which 5 million make about 2 GB
large. The last table asks what is asked of the record in earnest, each question with the wall time
of its slowest run.

    python -m benchmarks.graphql_pages [--rows 5000000] [--rounds 15] [--pages 100000]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

folder = prepare(DATABASE_URL="")

import strawberry
import strawberry_django
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from strawberry import relay
from strawberry.django.views import GraphQLView
from strawberry_django.optimizer import DjangoOptimizerExtension
from strawberry_django.relay import DjangoCursorConnection, DjangoListConnection

from schema.keyset import cursor_writer
from schema.view import graphql
from tracking.models import RequestLog

GOAL, DEEP_GOAL = 0.3, 1.2
FIRST_STOCK, FIRST = "stock, page 1", "this service, page 1"
FIELDS = "id at address method host path status durationMs country asn userAgent"
PAGE = f"{{ edges {{ node {{ {FIELDS} }} }} pageInfo {{ hasNextPage endCursor }} }}"
ORDERING = "ordering: [{at: DESC}, {id: DESC}]"
OURS = f"query Q($after: String) {{ requestLogs(first: 50, after: $after) {PAGE} }}"
STOCK = f"query Q($after: String) {{ logs(first: 50, after: $after, {ORDERING}) {PAGE} }}"
OFFSET = STOCK.replace("logs(", "logsByOffset(")
DEPTHS = (1, 10, 100, 1000, 10_000, 100_000)
FILTERED = """query Q($filter: RequestLogFilter)
{ requestLogs(filter: $filter) { nodes { id at path } %s } }"""
STATS = """query Q($filter: RequestLogFilter, $by: [RequestDimension!]!, $interval: Interval)
{ requestStats(filter: $filter, groupBy: $by, interval: $interval, top: 20)
  { count uniqueAddresses errorRate } }"""

# One row a second backwards from now, from 20,000 addresses; a third is of one country, 1 in 50 is
# a server error, 1 in 1,000 was blocked and carries a tag.
ROWS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %s - 1)
INSERT INTO tracking_requestlog (at, address, counting_key, method, host, path, normal_path, query,
  status, duration_ms, user_pk, username, user_agent, referer, request_id, operations, country,
  city, asn, verdict, "limit", tags, source)
SELECT strftime('%%Y-%%m-%%d %%H:%%M:%%S', 'now', (i - %s) || ' seconds')
    || '.' || printf('%%06d', 1 + i %% 999999),
  '4' || printf('%%08x', 167772160 + (i * 7919) %% 20000), '10.0.0.1', 'GET', 'example.org',
  '/articles/' || (i %% 5000), '/articles/' || (i %% 5000), '',
  CASE WHEN i %% 50 = 0 THEN 500 ELSE 200 END, 12.5, '', '',
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36', '',
  printf('%%032x', i), '', CASE i %% 3 WHEN 0 THEN 'DE' ELSE 'FR' END, 'Somewhere', 64500,
  CASE WHEN i %% 1000 = 0 THEN 'BLOCKED' ELSE 'ALLOWED' END, '',
  CASE WHEN i %% 1000 = 0 THEN ' sqli ' ELSE '' END, 'live'
FROM n
"""


@strawberry_django.type(RequestLog)
class Log(relay.Node):
    """The same row, as Strawberry-Django's documentation would have it."""

    at: strawberry.auto
    address: str
    method: strawberry.auto
    host: strawberry.auto
    path: strawberry.auto
    status: strawberry.auto
    duration_ms: strawberry.auto
    country: strawberry.auto
    asn: strawberry.auto
    user_agent: strawberry.auto


@strawberry_django.order_type(RequestLog)
class LogOrder:
    at: strawberry.auto
    id: strawberry.auto


@strawberry.type
class Query:
    logs: DjangoCursorConnection[Log] = strawberry_django.connection(ordering=LogOrder)
    logs_by_offset: DjangoListConnection[Log] = strawberry_django.connection(ordering=LogOrder)


def fill(rows: int) -> None:
    """Insert rows, and make the indexes afterwards: that takes a quarter of the time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'requestlog_%'")
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute(ROWS, [rows, rows])
        for _, sql in indexes:
            cursor.execute(sql)


def asker(view: Callable[[HttpRequest], HttpResponse], query: str) -> Callable[..., dict[str, Any]]:
    """Return the function that asks a view as a signed-in reader and returns its data."""
    user = get_user_model().objects.get_or_create(username="reader", is_superuser=True)[0]
    factory = RequestFactory(headers={"host": "localhost"})

    def ask(**variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables})
        request = factory.post("/graphql/", body, content_type="application/json")
        request.COOKIES["sessionid"] = "x"  # what the view takes for a session
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        request.user = user
        answer: dict[str, Any] = json.loads(view(request).content)
        return answer

    return ask


def must(answer: dict[str, Any]) -> dict[str, Any]:
    if "errors" in answer:
        raise SystemExit(f"error: {answer['errors']}")
    return answer


def cpu_milliseconds(task: Callable[[], object], times: int = 5) -> float:
    started = time.process_time()
    for _ in range(times):
        task()
    return (time.process_time() - started) * 1000 / times


def compare(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    for task in tasks.values():
        task()
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(cpu_milliseconds(task))
    return found


def deep_cursor(pages: int) -> str:
    """Return the cursor before page number `pages` of 50."""
    at, pk = RequestLog.objects.order_by("-at", "-id").values_list("at", "id")[pages * 50 - 51]
    return cursor_writer()(at, pk)


def tasks(deepest: int) -> dict[str, Callable[[], object]]:
    """Return what is compared: the first page of each, then pages as deep as asked for."""
    stock_schema = strawberry.Schema(query=Query, extensions=[DjangoOptimizerExtension])
    stock_view = GraphQLView.as_view(schema=stock_schema)
    ours, stock = asker(graphql, OURS), asker(stock_view, STOCK)
    offset = asker(stock_view, OFFSET)
    found: dict[str, Callable[[], object]] = {
        FIRST_STOCK: lambda: must(stock()),
        FIRST: lambda: must(ours()),
    }
    for page in (page for page in DEPTHS if 1 < page <= deepest):
        cursor, start = deep_cursor(page), relay.to_base64("arrayconnection", page * 50 - 51)
        found[f"this service, page {page:,}"] = lambda after=cursor: must(ours(after=after))
        found[f"stock by offset, page {page:,}"] = lambda after=start: must(offset(after=after))
    return found


def report(found: dict[str, list[float]]) -> bool:
    """Show what pages cost; return whether the goals are met."""
    base, first = min(found[FIRST_STOCK]), min(found[FIRST])
    rows = [
        (name, min(values), statistics.median(values), min(values) / base)
        for name, values in found.items()
    ]
    show("pages", ("50 requests", "CPU ms: min", "median", "ratio of mins"), rows)
    deepest = [values for name, values in found.items() if name.startswith("this service")][-1]
    met = goal("a page of 50, of the stock one", first / base, GOAL)
    return goal("the deepest page, of the first", min(deepest) / first, DEEP_GOAL) and met


def questions(rounds: int) -> None:
    """Ask what the filters and counts cost, each with its slowest wall time."""
    hour = {"at": {"gte": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))}}
    count, plain = FILTERED % "totalCount { value exact }", FILTERED % ""
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("page", plain, {}),
        ("page and totalCount", count, {}),
        ("one address", plain, {"filter": {"address": "10.0.0.7"}}),
        ("one address and totalCount", count, {"filter": {"address": "10.0.0.7"}}),
        ("status 5xx (1 in 50)", plain, {"filter": {"status": {"gte": 500}}}),
        ("status 5xx and totalCount", count, {"filter": {"status": {"gte": 500}}}),
        ("tag (1 in 1,000)", plain, {"filter": {"tag": ["sqli"]}}),
        ("tag and totalCount", count, {"filter": {"tag": ["sqli"]}}),
        ("path contains, nothing matches", plain, {"filter": {"path": {"contains": "nothing"}}}),
        ("status 999, nothing matches", plain, {"filter": {"status": {"gte": 999}}}),
        ("stats of an hour by address", STATS, {"filter": hour, "by": ["ADDRESS"]}),
        ("stats of an hour by agent", STATS, {"filter": hour, "by": ["AGENT_FAMILY"]}),
        ("stats of everything by minute", STATS, {"by": [], "interval": "MINUTE"}),
        ("stats of everything by address", STATS, {"by": ["ADDRESS"]}),
    ]
    rows = []
    for name, query, variables in asked:
        ask = asker(graphql, query)
        walls, cpus, answer = [], [], {}
        for _ in range(rounds):
            started = time.monotonic()
            cpus.append(cpu_milliseconds(lambda: answer.update(ask(**variables)), 1))  # noqa: B023
            walls.append((time.monotonic() - started) * 1000)
        rows.append((name, min(cpus), max(walls), shown(answer)))
    show("questions", ("question", "CPU ms: min", "wall ms: max", "answer"), rows)


def shown(answer: dict[str, Any]) -> str:
    if "errors" in answer:
        return str(answer["errors"][0]["extensions"]["code"])
    [found] = answer["data"].values()
    if isinstance(found, list):
        return f"{len(found)} groups"
    rows = f"{len(found['nodes'])} rows"
    if total := found.get("totalCount"):
        return f"{rows} of {'' if total['exact'] else 'about '}{total['value']:,}"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pages", type=int, default=100_000, help="the deepest page asked for")
    arguments = parser.parse_args()
    started = time.monotonic()
    fill(arguments.rows)
    print(f"{arguments.rows:,} rows made in {time.monotonic() - started:.0f} s\n")
    deepest = min(arguments.pages, arguments.rows // 50)
    met = report(compare(tasks(deepest), arguments.rounds))
    questions(min(arguments.rounds, 5))
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
