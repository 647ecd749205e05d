"""What recording adds to a request: bare Django, the same with the record, with an ORM insert.

All three handle the same request in one process, in interleaved rounds; the figures are CPU time of
the request thread. What the background thread spends on moving rows is measured by draining.py.

    python -m benchmarks.recording [--rounds 15] [--requests 400]
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.environment import STARTPROJECT, prepare
from benchmarks.tables import show

prepare()

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils import timezone

from tracking.models import RequestLog


class InsertMiddleware:
    """The plain way: one ORM insert per request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        address = request.META["REMOTE_ADDR"]
        RequestLog.objects.create(
            at=timezone.now(), address=address, counting_key=address, method=request.method,
            host=request.META["HTTP_HOST"], path=request.path, normal_path=request.path,
            status=response.status_code, duration_ms=0, request_id="0", verdict="ALLOWED",
            user_agent=request.META["HTTP_USER_AGENT"], referer=request.META["HTTP_REFERER"],
        )  # fmt: skip
        return response


def plain(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("articles/<int:number>/", plain)]

RECORD = ["tracking.middleware.VisitMiddleware", *STARTPROJECT]
STACKS: dict[str, dict[str, Any]] = {
    "bare": {"MIDDLEWARE": STARTPROJECT},
    "record": {"MIDDLEWARE": RECORD},
    "record, behind a proxy": {"MIDDLEWARE": RECORD, "TRACKING_TRUSTED_PROXIES": ["10.0.0.0/8"]},
    "ORM insert": {"MIDDLEWARE": ["benchmarks.recording.InsertMiddleware", *STARTPROJECT]},
}


def environ(number: int) -> dict[str, Any]:
    client = f"{number % 200 + 1}.{number // 200 % 250}.7.9"
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/articles/{number % 500}/",
        "RAW_URI": f"/articles/{number % 500}/?page=2",
        "QUERY_STRING": "page=2",
        "REMOTE_ADDR": "10.0.0.1",
        "HTTP_X_FORWARDED_FOR": client,
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "HTTP_REFERER": "https://example.org/articles/?page=1",
        "HTTP_ACCEPT": "application/json",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
    }


def spent(
    handler: WSGIHandler, requests: int, first: int, ask: Callable[[int], dict[str, Any]] = environ
) -> float:
    """Return microseconds of CPU per request."""
    environs = [ask(first + number) for number in range(requests)]
    before = time.thread_time()
    for one in environs:
        response = handler(one, lambda *_: None)
        b"".join(response)
        response.close()
    return (time.thread_time() - before) / requests * 1e6


REQUESTS = ("request", "CPU us: min", "median", "max", "added (min)", "added (median)", "ratio")


def compare(
    stacks: dict[str, dict[str, Any]],
    rounds: int,
    requests: int,
    asks: dict[str, Callable[[int], dict[str, Any]]] | None = None,
) -> dict[str, float]:
    """Show what a request costs under each stack; the first of them is what others add to.

    `asks` names the stacks that are asked something of their own. Returns the least microseconds.
    """
    asks = asks or {}
    figures: dict[str, list[float]] = {name: [] for name in stacks}
    handlers = {}
    for name, changes in stacks.items():
        with override_settings(ROOT_URLCONF="benchmarks.recording", **changes):
            handlers[name] = WSGIHandler()
            spent(handlers[name], 50, 0, asks.get(name, environ))
    for number in range(rounds):
        order = list(stacks)
        random.shuffle(order)
        for name in order:
            with override_settings(ROOT_URLCONF="benchmarks.recording", **stacks[name]):
                ask = asks.get(name, environ)
                figures[name].append(spent(handlers[name], requests, number * 1000, ask))
    first, rows = next(iter(figures.values())), []
    for name, values in figures.items():
        paired = [value - base for value, base in zip(values, first, strict=True)]
        middle = statistics.median(values)
        added = min(values) - min(first), statistics.median(paired)
        ratio = middle / statistics.median(first)
        rows.append((name, min(values), middle, max(values), *added, ratio))
    show("requests", REQUESTS, rows)
    return {name: min(values) for name, values in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=400)
    options = parser.parse_args()
    compare(STACKS, options.rounds, options.requests)


if __name__ == "__main__":
    main()
