"""Where the rows behind a figure are in the admin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.timezone import localtime

from tracking.models import RequestLog


@dataclass(frozen=True, slots=True)
class Links:
    """URLs on one admin site."""

    site: str

    def url(self, page: str, *args: Any, **query: Any) -> str:
        """Return the URL of a page of `tracking`, such as "blockedip_add"."""
        path = reverse(f"{self.site}:tracking_{page}", args=args)
        return f"{path}?{urlencode(query)}" if query else path

    def requests(self, start: datetime, end: datetime, **asked: Any) -> str:
        """Return the URL of the log from `start` to `end`, filtered by what else is asked."""
        times = {"since": as_typed(start), "until": as_typed(end)}
        return self.url("requestlog_changelist", **times, **asked)

    def request(self, row: RequestLog) -> str:
        return self.url("requestlog_change", row.pk)


def as_typed(moment: datetime) -> str:
    """Return a full minute as the admin's forms take it: local, without a zone where that is clear.

    When clocks are set back an hour comes twice, and only the offset tells which one is meant.
    """
    local = localtime(moment)
    is_clear = local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset()
    return f"{local:%Y-%m-%dT%H:%M}" if is_clear else local.isoformat(timespec="minutes")
