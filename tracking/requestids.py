"""The id of the request that is being handled, for every line of the log.

In LOGGING, `"filters": {"request_id": {"()": "tracking.requestids.RequestIdFilter"}}`, named by a
handler, gives each of its records a `request_id`, and a format can hold `%(request_id)s`.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

from django.core.signals import request_finished

# A thread of a WSGI server has one context for all of its requests, an ASGI request one of its own.
_current: ContextVar[str] = ContextVar("tracking.request_id", default="")


def current() -> str:
    """Return the id of the request that this thread or task handles; empty outside of requests."""
    return _current.get()


def enter(request_id: str) -> None:
    """Say which request is handled from now on, until its answer is sent."""
    _current.set(request_id)


def leave(**_: object) -> None:
    """Say that the request is over; Django does when the server has sent the answer."""
    _current.set("")


class RequestIdFilter(logging.Filter):
    """Lets every record pass, with the id of the request as `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get()
        return True


request_finished.connect(leave, dispatch_uid="tracking.requestids")
