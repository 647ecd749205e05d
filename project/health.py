"""Answers to probes, before everything else: `/livez` (the process runs), `/readyz` (all works).

`/readyz` tells everybody 200 or 503. What exactly is wrong is for trusted peers and staff.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from tracking import conf
from tracking.engine.address import AddressError, parse_address
from tracking.health import Check, look_at_journal, look_at_places, look_at_worker

LIVE = "/livez"
READY = "/readyz"
FORWARDING_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_REAL_IP",
    "HTTP_X_CLIENT_IP",
    "HTTP_X_CLUSTER_CLIENT_IP",
    "HTTP_CLIENT_IP",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_CF_CONNECTING_IP",
    "HTTP_FASTLY_CLIENT_IP",
)

Response = HttpResponseBase | Awaitable[HttpResponseBase]


class HealthMiddleware:
    """Stands first in MIDDLEWARE: probes are not recorded, limited, redirected or blocked."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        if request.path_info not in {LIVE, READY}:
            return self.get_response(request)
        return sync_to_async(answer)(request) if self.is_async else answer(request)


def answer(request: HttpRequest) -> HttpResponse:
    """Return a probe's answer; nothing on the way may keep it."""
    response: HttpResponse
    if request.method not in {"GET", "HEAD"}:
        response = HttpResponseNotAllowed(["GET", "HEAD"])
    elif request.path_info == LIVE:
        response = JsonResponse({"status": "ok"})
    else:
        response = ready(request)
    response["Cache-Control"] = "no-store"
    return response


def ready(request: HttpRequest) -> HttpResponse:
    """Look at everything a request needs; 503 when one part fails."""
    checks = look()
    ok = all(check.ok or check.warning for check in checks)
    report: dict[str, object] = {"status": "ok" if ok else "unavailable"}
    if from_trusted_peer(request) or (checks[0].ok and from_staff(request)):
        report["checks"] = [asdict(check) for check in checks]
    return JsonResponse(report, status=200 if ok else 503)


def from_trusted_peer(request: HttpRequest) -> bool:
    """Say whether this machine or a trusted proxy asks for itself, not for a client of its own."""
    if any(header in request.META for header in FORWARDING_HEADERS):
        return False
    try:
        peer = parse_address(request.META.get("REMOTE_ADDR", ""))
    except AddressError:
        return False
    return peer.is_loopback or conf.current().proxies.trusts(peer)


def from_staff(request: HttpRequest) -> bool:
    """Say whether the session cookie is that of an active member of staff."""
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return False
    request.session = SessionStore(key)
    try:
        user = get_user(request)
    except (DatabaseError, ValueError):  # PostgreSQL takes no NUL in a session key
        return False
    return user.is_active and user.is_staff


def look() -> list[Check]:
    """Return all checks, the database's first; without it the others that need it are left out."""
    try:
        database = look_at_database()
        if database.ok:
            return [database, look_at_journal(), look_at_worker(), look_at_places()]
    except DatabaseError as error:
        database = Check("database", False, f"not reachable ({type(error).__name__})")
    return [database, look_at_places()]


def look_at_database() -> Check:
    global _migrated
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if not _migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return Check("database", False, "migrations are missing: run manage.py migrate")
        _migrated = True
    return Check("database", True, f"{connection.vendor}, migrated")


_migrated = False  # migrations are not taken back under a running process
