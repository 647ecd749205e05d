"""The doors through which requests come in: thin drivers, sync and async, around the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tracking import guard, refusal
from tracking.engine.verdict import Verdict

Response = HttpResponseBase | Awaitable[HttpResponseBase]


class VisitMiddleware:
    """Refuses what a rule blocks, and puts every request on record.

    First in MIDDLEWARE, so that no answer passes it by and nothing runs for who is blocked.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        guard.prepare()

    def __call__(self, request: HttpRequest) -> Response:
        verdict = guard.open(request)
        if self.is_async:
            return self._answered_later(request, verdict)
        if verdict.refused:
            return guard.close(request, refusal.answer(request, verdict))
        return guard.close(request, self.get_response(request))

    async def _answered_later(self, request: HttpRequest, verdict: Verdict) -> HttpResponseBase:
        if verdict.refused:
            return guard.close(request, refusal.answer(request, verdict))
        return guard.close(request, await self.get_response(request))


class LimitMiddleware:
    """Counts requests by their path, refuses those above a limit, and tells of refused logins.

    Stands after authentication, since users have limits of their own.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        names = guard.limits_by_path(request)
        if self.is_async:
            return self._answered_later(request, names)
        verdict = guard.limit_each(request, names)
        if verdict.refused:
            return refusal.told(request, refusal.answer(request, verdict))
        return _with_limits(request, self.get_response(request))

    async def _answered_later(
        self, request: HttpRequest, names: tuple[str, ...]
    ) -> HttpResponseBase:
        verdict = await guard.limit_each_async(request, names)
        if verdict.refused:
            return refusal.told(request, refusal.answer(request, verdict))
        return _with_limits(request, await self.get_response(request))


def _with_limits(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    login = guard.take_login_verdict(request)
    if login.refused:
        response = refusal.answer(request, login)
    return refusal.told(request, response)
