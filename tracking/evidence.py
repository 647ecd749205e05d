"""What detectors may ask of the record: a few questions, each bounded by a span of time.

Only verified addresses count: a request whose forwarding header made no sense is left out, since it
stands under the address of the proxy. So are requests of colleagues (whoever holds a permission on
the record: they try things, and search the log for attacks), and those a rule refused, which would
otherwise get a blocked client blocked again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from django.db.models import Count, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import TruncMinute

from tracking.automatic import holders
from tracking.engine.address import IPNetwork, parse_network
from tracking.engine.verdict import VerdictKind
from tracking.fields import bounds
from tracking.models import LIVE, LoginAttempt, RequestLog, RequestLogQuerySet

MOST_ROWS = 20_000  # of one target, or with tags, that one question brings
UNVERIFIED = "malformed_forwarding"
NOT_FOUND = (404, 410)
LOGIN_PATH = "login|signin|sign-in|session|authenticate|xmlrpc"  # the same for both databases


class Seen(NamedTuple):
    """A row of the record, as far as detectors look at it."""

    pk: int
    at: datetime
    key: str
    user_pk: str
    method: str
    path: str
    status: int
    tags: tuple[str, ...]


_COLUMNS = ("pk", "at", "counting_key", "user_pk", "method", "normal_path", "status", "tags")


class Tried(NamedTuple):
    """An attempt to log in that did not succeed."""

    at: datetime
    address: str
    account: str


@dataclass(frozen=True)
class Span:
    """A stretch of time, both ends included, in which something new has been recorded."""

    start: datetime
    end: datetime

    def busy(self, width: timedelta, threshold: int) -> list[str]:
        """Keys with more than `threshold` requests in the span and `width` before it."""
        return list(self._grouped(width, Count("pk"), threshold))

    def missing(self, width: timedelta, threshold: int) -> list[str]:
        """Keys that asked for more than `threshold` different paths that are not there."""
        counted = Count("normal_path", distinct=True, filter=Q(status__in=NOT_FOUND))
        return list(self._grouped(width, counted, threshold))

    def requests(self, key: str, width: timedelta) -> list[Seen]:
        """The requests of one key, in order of time; the newest of very many."""
        rows = self.rows(width).filter(address__range=bounds(parse_network(key)))
        return self._seen(rows.order_by("-at", "-pk"))[::-1]

    def minutes(self, width: timedelta) -> dict[int, int]:
        """How many minutes of any one client hold so many requests, by that number."""
        rows = self.rows(width).order_by().annotate(minute=TruncMinute("at"))
        counted = rows.values("counting_key", "minute").annotate(number=Count("pk"))
        return Counter(counted.values_list("number", flat=True).iterator(10_000))

    def tagged(self, width: timedelta) -> dict[str, list[Seen]]:
        """The requests with tags, by key, in order of time."""
        # The very words of the partial index's condition: a parameter would hide them.
        rows = self.rows(width).filter(~Q(tags=RawSQL("''", ())))
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for seen in self._seen(rows.order_by("-at", "-pk"))[::-1]:
            found[seen.key].append(seen)
        return found

    def failed_logins(self, width: timedelta) -> list[Tried]:
        """Attempts to log in that failed or were refused, in order of time."""
        tried = LoginAttempt.objects.filter(at__gte=self.start - width, at__lte=self.end)
        failed = tried.exclude(outcome=LoginAttempt.Outcome.SUCCEEDED).order_by("-at", "-pk")
        rows = list(failed.values_list("at", "address", "account")[:MOST_ROWS])
        return [Tried(*row) for row in reversed(rows)]

    def failed_posts(self, width: timedelta) -> dict[str, list[Seen]]:
        """Requests that look like failed logins to whoever knows only the log, by key.

        Where this service has answered itself, only an answer that says so counts; of another
        server's log, a login page that comes again instead of leading on does too.
        """
        refused = Q(status__in=(401, 403))
        again = Q(normal_path__regex=LOGIN_PATH) & ~Q(source=LIVE) & ~Q(status__range=(300, 399))
        rows = self.rows(width).filter(refused | again, method="POST")
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for seen in self._seen(rows.order_by("-at", "-pk"))[::-1]:
            found[seen.key].append(seen)
        return found

    def sample(self, network: IPNetwork, most: int = 20) -> tuple[int, ...]:
        """The newest requests of a network in the span."""
        rows = self.rows(timedelta(hours=1)).filter(address__range=bounds(network))
        return tuple(rows.order_by("-at", "-pk").values_list("pk", flat=True)[:most])

    def rows(self, width: timedelta) -> RequestLogQuerySet:
        """Rows that count, of the span and `width` before it."""
        rows = RequestLog.objects.filter(at__gte=self.start - width, at__lte=self.end)
        return rows.exclude(verdict=VerdictKind.BLOCKED)

    @cached_property
    def colleagues(self) -> frozenset[str]:
        return holders()

    def _grouped(self, width: timedelta, counted: Count, threshold: int) -> Iterable[str]:
        rows = self.rows(width).order_by().values("counting_key").annotate(number=counted)
        return rows.filter(number__gt=threshold).values_list("counting_key", flat=True)

    def _seen(self, rows: RequestLogQuerySet) -> list[Seen]:
        seen = (Seen(*row) for row in rows.values_list(*_COLUMNS)[:MOST_ROWS])
        return [
            one for one in seen if UNVERIFIED not in one.tags and one.user_pk not in self.colleagues
        ]
