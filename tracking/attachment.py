"""An export as the answer to a request: a file that goes out while it is read, never whole."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from functools import partial

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.utils import timezone

from tracking import export
from tracking.audit import Actor
from tracking.export import Format, Selection

# Of one process: a client that reads slowly keeps a thread of the web server.
MOST_AT_ONCE = 2
RETRY_AFTER = 30  # seconds
MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.JSON_LINES: "application/x-ndjson",
}
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


class Parts(Iterator[str]):
    """The parts of a file, which take one of the places until they are closed or forgotten."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self.close = weakref.finalize(self, _free.release)

    def __next__(self) -> str:
        return next(self._parts)


class AwaitedParts(AsyncIterator[str]):
    """The same for an event loop, which no question to the database holds up."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self.close = weakref.finalize(self, _free.release)

    async def __anext__(self) -> str:
        part: str | None = await sync_to_async(partial(next, self._parts, None))()
        if part is None:
            raise StopAsyncIteration
        return part


def answer(
    request: HttpRequest, actor: Actor, selection: Selection, form: Format
) -> HttpResponseBase:
    """Return the file to a GET, and put the export on record; 503 when too many go out.

    Who asks may do so: that is for the caller to have seen to.
    """
    if request.method != "GET":
        return private(HttpResponseNotAllowed(["GET"]))  # a HEAD would read it all to say nothing
    if not _free.acquire(blocking=False):
        return _busy()
    response = StreamingHttpResponse(
        _begun(request, actor, selection, form), content_type=MEDIA_TYPES[form]
    )
    name = f"requests-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Accept-Ranges"] = "none"
    return private(response)


def private(response: HttpResponseBase) -> HttpResponseBase:
    """Return an answer that is kept nowhere and named nowhere; its URL may be a secret."""
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _begun(
    request: HttpRequest, actor: Actor, selection: Selection, form: Format
) -> Parts | AwaitedParts:
    try:
        parts = iter(export.begin(actor, selection, form))
    except BaseException:
        _free.release()
        raise
    return AwaitedParts(parts) if isinstance(request, ASGIRequest) else Parts(parts)


def _busy() -> HttpResponseBase:
    text = f"{MOST_AT_ONCE} exports are being read. Try again when one of them has ended.\n"
    response = HttpResponse(text, status=503, content_type="text/plain; charset=utf-8")
    response["Retry-After"] = str(RETRY_AFTER)
    return private(response)
