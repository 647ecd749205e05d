"""What detectors may ask of the record: a few questions, each bounded by a span of time.

Only verified addresses count: a request whose forwarding header made no sense is left out, since it
stands under the address of the proxy. So are requests of colleagues (whoever holds a permission on
the record: they try things, and search the log for attacks), and those a rule refused, which would
otherwise get a blocked client blocked again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Count, Q
from django.db.models.expressions import RawSQL

from tracking.automatic import holders
from tracking.engine.address import IPNetwork, parse_network
from tracking.engine.families import SCANNER_AGENT
from tracking.engine.forwarding import UNKNOWN
from tracking.engine.limits import account_key
from tracking.engine.sensitive import SENSITIVE_FIELD, SENSITIVE_PATH
from tracking.engine.verdict import VerdictKind
from tracking.fields import bounds, joined
from tracking.models import LIVE, LoginAttempt, RequestLog, RequestLogQuerySet
from tracking.statistics import BUCKETS, Interval
from tracking.visits import FROM_A_PAGE, MALFORMED_HEADER, UNTRUSTED_HEADER

MOST_ROWS = 20_000  # of one target, or with tags, that one question brings
NOT_FOUND = (404, 410)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TYPING_ERRORS = 3  # failed logins of one account after which its owner may still get in
FEWEST = 4  # requests; whoever sent no more is no detector's business by numbers
MERELY_SENSITIVE = [
    joined([*other, tag])
    for tag in (SENSITIVE_PATH, SENSITIVE_FIELD)
    for other in ([], [FROM_A_PAGE], [UNTRUSTED_HEADER], [UNTRUSTED_HEADER, FROM_A_PAGE])
]
LOGIN_PATH = "login|signin|sign-in|session|authenticate|xmlrpc"  # the same for both databases
# What looks like a failed login to whoever knows only the log. Where this service has answered
# itself, only an answer that says so counts; of another server's log, a login page that comes again
# instead of leading on does too.
REFUSED_POST = Q(method="POST") & (
    Q(status__in=(401, 403))
    | (~Q(source=LIVE) & ~Q(status__range=(300, 399)) & Q(normal_path__regex=LOGIN_PATH))
)


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

    @property
    def is_led(self) -> bool:
        """Whether a page anywhere may have made an innocent visitor's browser send this.

        Every browser says so (over HTTPS). No page can change what agent a browser names.
        """
        return FROM_A_PAGE in self.tags and SCANNER_AGENT.name not in self.tags


_COLUMNS = ("pk", "at", "counting_key", "user_pk", "method", "normal_path", "status", "tags")


class Totals(NamedTuple):
    """How much one key sent: requests, those for what is not there, and forms that were refused."""

    requests: int
    missing: int
    refused: int


class Tried(NamedTuple):
    """An attempt to log in that failed, or that a limit refused before anybody saw the password."""

    at: datetime
    address: str
    account: str
    is_limited: bool


@dataclass(frozen=True)
class Span:
    """A stretch of time, both ends included, in which something new has been recorded."""

    start: datetime
    end: datetime
    _totals: dict[timedelta, dict[str, Totals]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _tagged: dict[tuple[timedelta, bool], dict[str, list[Seen]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def busy(self, width: timedelta, threshold: int) -> list[str]:
        """Keys that may have sent more than `threshold` requests within `width`."""
        return [key for key, total in self.totals(width).items() if total.requests > threshold]

    def missing(self, width: timedelta, threshold: int) -> list[str]:
        """Keys that may have asked more than `threshold` times for what is not there."""
        return [key for key, total in self.totals(width).items() if total.missing > threshold]

    def posting(self, width: timedelta, threshold: int) -> list[str]:
        """Keys that may have sent more than `threshold` forms that were refused."""
        return [key for key, total in self.totals(width).items() if total.refused > threshold]

    def totals(self, width: timedelta) -> dict[str, Totals]:
        """What each key sent in the span and `width` (an hour at least) before it.

        Detectors look closer at those who exceed a threshold here: one look at each row of the
        span serves them all.
        """
        width = max(width, HOUR)
        if width not in self._totals:
            rows = self.rows(width).order_by().values("counting_key")
            counted = rows.annotate(
                requests=Count("pk"),
                missing=Count("pk", filter=Q(status__in=NOT_FOUND)),
                refused=Count("pk", filter=REFUSED_POST),
            ).filter(requests__gt=FEWEST)
            found = counted.values_list("counting_key", "requests", "missing", "refused")
            self._totals[width] = {key: Totals(*numbers) for key, *numbers in found}
        return self._totals[width]

    def requests(self, key: str, width: timedelta) -> list[Seen]:
        """The requests of one key, in order of time; the newest of very many."""
        first, last = bounds(parse_network(key))
        # To name one address lets SQLite take its index although the newest are wanted first.
        whose = Q(address=first) if first == last else Q(address__range=(first, last))
        return self._seen(self.rows(width).filter(whose).order_by("-at", "-pk"))[::-1]

    def busy_minutes(self, threshold: int) -> list[str]:
        """Keys with more than `threshold` requests in one minute of the clock."""
        if not self.busy(HOUR, threshold):  # known already, where a minute takes another look
            return []
        counted = self._minutes(timedelta(minutes=1)).filter(number__gt=threshold)
        return sorted(set(counted.values_list("counting_key", flat=True)))

    def minutes(self, width: timedelta) -> dict[int, int]:
        """How many minutes of any one client hold so many requests, by that number."""
        return Counter(self._minutes(width).values_list("number", flat=True).iterator(10_000))

    def tagged(self, width: timedelta, *, only_attacks: bool = False) -> dict[str, list[Seen]]:
        """The requests with tags, by key, in order of time.

        With `only_attacks` without those that merely ask for what is sensitive: whoever logs in
        does, and many such requests must not crowd out an attack.
        """
        asked = (width, only_attacks)
        if asked not in self._tagged:
            # The very words of the partial index's condition: a parameter would hide them.
            rows = self.rows(width).filter(~Q(tags=RawSQL("''", ())))
            # Behind a proxy nobody told of, every row has this one.
            rows = rows.exclude(tags=joined([UNTRUSTED_HEADER]))
            if only_attacks:
                rows = rows.exclude(tags__in=MERELY_SENSITIVE)
            found: defaultdict[str, list[Seen]] = defaultdict(list)
            for seen in self._seen(rows.order_by("-at", "-pk"))[::-1]:
                found[seen.key].append(seen)
            self._tagged[asked] = found
        return self._tagged[asked]

    def failed_logins(self, width: timedelta) -> list[Tried]:
        """Attempts to log in that did not succeed, in order of time.

        Those of whoever mistyped a few times and got in are left out.
        """
        rows = LoginAttempt.objects.filter(at__gte=self.start - width, at__lte=self.end)
        rows = rows.exclude(address=str(UNKNOWN)).order_by("-at", "-pk")
        succeeded, limited = LoginAttempt.Outcome.SUCCEEDED, LoginAttempt.Outcome.LIMITED
        newest = rows.exclude(outcome=succeeded).values_list("at", "address", "account", "outcome")
        tried = [
            Tried(at, address, account_key(account), outcome == limited)
            for at, address, account, outcome in newest[:MOST_ROWS]
        ][::-1]
        failures = Counter((one.address, one.account) for one in tried if not one.is_limited)
        let_in = rows.filter(outcome=succeeded).values_list("address", "account")[:MOST_ROWS]
        mistyped = {
            pair
            for address, account in let_in
            if failures[pair := (address, account_key(account))] <= TYPING_ERRORS
        }
        return [one for one in tried if (one.address, one.account) not in mistyped]

    def refused_posts(self, key: str, width: timedelta) -> list[Seen]:
        """The forms of one key that were refused, in order of time."""
        rows = self.rows(width).filter(REFUSED_POST)
        rows = rows.filter(address__range=bounds(parse_network(key)))
        return self._seen(rows.order_by("-at", "-pk"))[::-1]

    def bystanders(self, network: IPNetwork, members: Collection[str]) -> tuple[int, int]:
        """How many other keys of a network were seen within a day, and how many users of it."""
        rows = RequestLog.objects.inside(network).filter(at__gt=self.end - DAY, at__lte=self.end)
        seen = set(rows.order_by().values_list("counting_key", "user_pk").distinct()[:MOST_ROWS])
        others = {key for key, _ in seen} - set(members)
        return len(others), len({user_pk for _, user_pk in seen} - {""})

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

    def _minutes(self, width: timedelta) -> Any:
        """A query of keys, minutes of the clock, and the number of requests in each."""
        rows: Any = self.rows(width).order_by().annotate(minute=BUCKETS[Interval.MINUTE])
        return rows.values("counting_key", "minute").annotate(number=Count("pk"))

    def _seen(self, rows: RequestLogQuerySet) -> list[Seen]:
        seen = (Seen(*row) for row in rows.values_list(*_COLUMNS)[:MOST_ROWS])
        return [
            one
            for one in seen
            if MALFORMED_HEADER not in one.tags and one.user_pk not in self.colleagues
        ]
