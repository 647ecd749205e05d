"""Pages of the request log, found without counting or sorting its millions of rows.

A page begins below the last row of the page before it, and no more than SCAN rows are looked at for
one page: where a condition must be checked on row after row, the page says how far back it looked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Left
from django.db.models.lookups import Exact

from tracking import ipstorage
from tracking.engine.address import IPNetwork
from tracking.engine.verdict import VerdictKind
from tracking.fields import bounds
from tracking.models import RequestLog, RequestLogQuerySet

PAGE = 50
SCAN = 20_000
FEW = 2_000  # rows of a network that are looked up one by one; more are found by time

REFUSED = "REFUSED"  # asks for every verdict but ALLOWED

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITION = re.compile(r"(-?[0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a row stands in the log, which is sorted by time and then by number."""

    at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // _MICROSECOND}-{self.pk}"

    @classmethod
    def read(cls, text: str) -> Position:
        """Return the position that str() wrote; raises ValueError for any other text."""
        match = _POSITION.fullmatch(text)
        if not match:
            raise ValueError("not a position in the log")
        try:
            return cls(_EPOCH + int(match[1]) * _MICROSECOND, int(match[2]))
        except OverflowError:
            raise ValueError("a position outside of time") from None

    def older(self) -> Q:
        """Rows below this one. The first comparison is what an index can serve."""
        return Q(at__lte=self.at) & (Q(at__lt=self.at) | Q(pk__lt=self.pk))

    def not_older(self) -> Q:
        """This row and all above it."""
        return Q(at__gte=self.at) & (Q(at__gt=self.at) | Q(pk__gte=self.pk))

    def newer(self) -> Q:
        """Rows above this one."""
        return Q(at__gte=self.at) & (Q(at__gt=self.at) | Q(pk__gt=self.pk))

    def not_newer(self) -> Q:
        """This row and all below it."""
        return Q(at__lte=self.at) & (Q(at__lt=self.at) | Q(pk__lte=self.pk))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question put to the log; what is None or empty does not matter."""

    since: datetime | None = None
    until: datetime | None = None  # not included
    network: IPNetwork | None = None
    country: str = ""
    status_class: int | None = None  # the first digit
    verdict: str = ""  # a VerdictKind or REFUSED
    path: str = ""  # its beginning
    username: str = ""
    source: str = ""
    request_id: str = ""
    older: Position | None = None  # only rows below it


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of the log, the newest first."""

    rows: list[Any]
    older: Position | None = None
    looked_back_to: datetime | None = None


def find(asked: Asked, size: int = PAGE) -> Page:
    """Return the newest rows that fit the question."""
    reach, rest = within_reach(asked)
    reach = reach.window(asked.since, asked.until).order_by("-at", "-pk")
    if asked.older:
        reach = reach.filter(asked.older.older())
    condition = conditions(rest)
    if not condition:
        return page(list(reach[: size + 1]), size)
    last = reach.values_list("at", "pk")[SCAN - 1 : SCAN].first()
    if last is None:
        return page(list(reach.filter(condition)[: size + 1]), size)
    end = Position(*last)
    found = list(reach.filter(end.not_older(), condition)[: size + 1])
    return page(found, size) if len(found) > size else Page(found, end, end.at)


def page(found: list[Any], size: int) -> Page:
    """Return a page of the rows; one more than `size` of them means that the list goes on."""
    rows = found[:size]
    return Page(rows, Position(rows[-1].at, rows[-1].pk) if len(found) > size else None)


def within_reach(asked: Asked) -> tuple[RequestLogQuerySet, Asked]:
    """Return the rows that one index leads to, and what is left to check on each of them."""
    rows = RequestLog.objects.all()
    network = asked.network
    if asked.request_id:
        return rows.filter(request_id=asked.request_id), replace(asked, request_id="")
    if network and network.num_addresses == 1:
        return rows.filter(ipstorage.at(network[0])), replace(asked, network=None)
    if network:
        few = list(rows.inside(network).values_list("pk", flat=True)[: FEW + 1])
        if len(few) <= FEW:
            return rows.filter(pk__in=few), replace(asked, network=None)
    if asked.verdict == REFUSED:
        return rows.exclude(verdict=VerdictKind.ALLOWED), replace(asked, verdict="")
    if asked.verdict and asked.verdict != VerdictKind.ALLOWED:
        return rows.exclude(verdict=VerdictKind.ALLOWED), asked
    return rows, asked


def conditions(asked: Asked) -> Q:
    """Return everything asked for but the times; an empty Q when that is nothing."""
    wanted = Q()
    for name in ("request_id", "country", "username", "source"):
        if getattr(asked, name):
            wanted &= Q(**{name: getattr(asked, name)})
    if asked.network:
        # Negated, for a planner would follow a range into the index of addresses, and there sort
        # all that a wide network ever sent.
        first, last = bounds(asked.network)
        wanted &= ~Q(address__lt=first) & ~Q(address__gt=last)
    if asked.status_class is not None:
        lowest = asked.status_class * 100
        wanted &= Q(status__range=(lowest, lowest + 99))
    if asked.verdict == REFUSED:
        wanted &= ~Q(verdict=VerdictKind.ALLOWED)
    elif asked.verdict:
        wanted &= Q(verdict=asked.verdict)
    if asked.path:
        # LIKE ignores case on SQLite.
        wanted &= Q(Exact(Left("path", len(asked.path)), asked.path))
    return wanted
