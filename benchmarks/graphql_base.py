"""What a trivial GraphQL query costs here, beside Strawberry's own view in the same process.

    python -m benchmarks.graphql_base [--rounds 9] [--requests 200]

Three stacks answer `{__typename}` by POST through Django's request factory, without middleware:
`stock` is strawberry.django.views.GraphQLView over a plain Schema; `cached` is the same with
Strawberry's own parser and validation caches; `ours` is schema.view. They take turns in every
round, in changing order, and only the CPU time of this process counts. The goal is a ratio
ours / stock of at most 0.5; read the ratios, because microseconds change with the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

prepare()

import strawberry
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from strawberry.django.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache

from schema.root import Query, schema
from schema.view import graphql

GOAL = 0.5
CACHES = (lambda: ParserCache(maxsize=100), lambda: ValidationCache(maxsize=100))
STACKS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "stock": GraphQLView.as_view(schema=strawberry.Schema(query=Query, config=schema.config)),
    "cached": GraphQLView.as_view(
        schema=strawberry.Schema(query=Query, config=schema.config, extensions=CACHES)
    ),
    "ours": graphql,
}
TITLES = {
    "stock": "Strawberry's own view",
    "cached": "the same, with its parser and validation caches",
    "ours": "this service",
}
BODY = json.dumps({"query": "{__typename}"})
HEADERS = {"accept": "application/json"}


def once(name: str, requests: int) -> float:
    """Return the CPU microseconds of one request, over `requests` of them."""
    factory = RequestFactory()
    asked = [
        factory.post("/graphql/", BODY, content_type="application/json", headers=HEADERS)
        for _ in range(requests)
    ]
    started = time.process_time()
    for request in asked:
        response = STACKS[name](request)
    spent = time.process_time() - started
    assert json.loads(response.content) == {"data": {"__typename": "Query"}}, response.content
    return spent / requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()
    names = list(STACKS)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        once(name, 20)
    for _ in range(arguments.rounds):
        random.shuffle(names)
        for name in names:
            figures[name].append(once(name, arguments.requests))
    rows = []
    for name, values in figures.items():
        ratios = [value / stock for value, stock in zip(values, figures["stock"], strict=True)]
        middle = statistics.median(values), statistics.median(ratios)
        rows.append((TITLES[name], min(values), middle[0], max(values), middle[1]))
    show("views", ("`{__typename}`", "CPU us: min", "median", "max", "ratio"), rows)
    best = min(figures["ours"]) / min(figures["stock"])
    goal("a trivial query, of Strawberry's own view", best, GOAL)


if __name__ == "__main__":
    main()
