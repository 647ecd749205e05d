"""The doors through which requests come in: thin drivers, sync and async, around the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tracking import guard

Response = HttpResponseBase | Awaitable[HttpResponseBase]


class VisitMiddleware:
    """Puts every request on record; first in MIDDLEWARE, so that no answer passes it by."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        guard.open(request)
        response = self.get_response(request)
        if isinstance(response, HttpResponseBase):
            return guard.close(request, response)
        return self._closed_later(request, response)

    async def _closed_later(
        self, request: HttpRequest, response: Awaitable[HttpResponseBase]
    ) -> HttpResponseBase:
        return guard.close(request, await response)
