"""`/metrics` for Prometheus, answered before everything else, and what each process counts for it.

Under gunicorn the counts of all processes stand in files that they share (deploy/gunicorn.conf.py);
elsewhere a process tells its own. docs/operating.md lists every metric.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.db.models.signals import post_save
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from project.health import from_trusted_peer
from project.vitals import Vitals
from tracking import conf
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Visit
from tracking.models import LoginAttempt

PATH = "/metrics"
# From what a remembered client takes to what a stalled machine adds.
BUCKETS = (25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 0.25)

Response = HttpResponseBase | Awaitable[HttpResponseBase]

disable_created_metrics()  # type: ignore[no-untyped-call] # files of several processes have none

counted = CollectorRegistry()
REQUESTS = Counter(
    "tracking_requests",
    "Requests by what was decided about them and the class of their status",
    ["verdict", "status"],
    registry=counted,
)
LIMITED = Counter(
    "tracking_requests_limited",
    "Requests that exceeded a limit, by its name, refused or only observed",
    ["limit"],
    registry=counted,
)
LOGINS = Counter(
    "tracking_login_attempts", "Attempts to log in by their outcome", ["outcome"], registry=counted
)
DECISIONS = Histogram(
    "tracking_decision_seconds",
    "Time it took to know a request's client and to decide by the rules",
    registry=counted,
    buckets=BUCKETS,
)


class MetricsMiddleware:
    """Stands behind the probes: answers whoever may ask, and counts all other requests.

    For everybody else /metrics is a path like any other that does not exist: 404, on record.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        begin_at_zero()

    def __call__(self, request: HttpRequest) -> Response:
        if request.path_info == PATH and may_ask(request):
            return sync_to_async(answer)(request) if self.is_async else answer(request)
        if self.is_async:
            return self._counted_later(request)
        return count(request, self.get_response(request))

    async def _counted_later(self, request: HttpRequest) -> HttpResponseBase:
        return count(request, await self.get_response(request))


def may_ask(request: HttpRequest) -> bool:
    """Say whether this machine or a trusted proxy asks for itself, or somebody with the token."""
    if from_trusted_peer(request):
        return True
    given, token = request.META.get("HTTP_AUTHORIZATION", ""), settings.METRICS_TOKEN
    return bool(token) and constant_time_compare(given, f"Bearer {token}")


def answer(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the format that the client prefers."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET", "HEAD"])
    registry = CollectorRegistry()
    if is_shared():
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(counted)
    registry.register(Vitals())
    encode, content_type = choose_encoder(request.META.get("HTTP_ACCEPT", ""))
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(encode(registry), content_type=content_type, headers=headers)


def count(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Count a request that has been answered; costs microseconds, asks nobody."""
    visit: Visit | None = getattr(request, "visit", None)
    if visit is not None:
        verdict = visit.verdict
        requests_of(verdict.kind, response.status_code // 100).inc()
        DECISIONS.observe(visit.decision_seconds)
        if verdict.limit:
            LIMITED.labels(verdict.limit).inc()
    return response


@cache
def requests_of(verdict: VerdictKind, status_class: int) -> Counter:
    return REQUESTS.labels(verdict.value, f"{status_class}xx")


def count_login(instance: LoginAttempt, created: bool, **_: object) -> None:
    if created:
        LOGINS.labels(instance.outcome).inc()


def is_shared() -> bool:
    """Say whether the counts of several processes stand in files (PROMETHEUS_MULTIPROC_DIR)."""
    return bool(values.ValueClass._multiprocess)  # noqa: SLF001 - as the package itself asks


def begin_at_zero() -> None:
    """Show what has not happened yet as 0: an increase from nothing is seen by no alarm."""
    for verdict in VerdictKind:
        for status_class in (2, 3, 4, 5):
            requests_of(verdict, status_class)
    for outcome in LoginAttempt.Outcome.values:
        LOGINS.labels(outcome)
    for name in conf.current().limits:
        LIMITED.labels(name)


post_save.connect(count_login, LoginAttempt, dispatch_uid="project.metrics")
