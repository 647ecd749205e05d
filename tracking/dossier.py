"""What the record and the book know of one address.

Each question reads a bounded part of an index, so that an address with a million requests costs
what one with ten thousand does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from tracking import ipstorage
from tracking.engine.address import IPAddress, IPNetwork, holding, network_around, network_of
from tracking.engine.place import Place
from tracking.fields import AddressField
from tracking.models import AccessRule, LoginAttempt, RequestLog, SuspiciousIP
from tracking.statistics import AGENT_FAMILIES

NEWEST = 2_000  # requests that are counted
MOST_NEIGHBOURS = 256  # looked at on either side: more than an IPv4 network has
MOST_COUNTED = 50  # requests of each neighbour: PostgreSQL may have to fetch each row
MOST_KINDS = 10  # of paths, agents and so on
OTHER = "Other"

_ADDRESS = AddressField()
# How the neighbours are found: by walking the index from address to address, in either direction,
# or, of a network as small as IPv4's, by asking for each.
_WALKED = """RECURSIVE
up(address, place) AS (
  SELECT (SELECT MIN(address) FROM tracking_requestlog WHERE address > %s AND address <= %s), 1
  UNION ALL
  SELECT (SELECT MIN(l.address) FROM tracking_requestlog l
    WHERE l.address > up.address AND l.address <= %s), place + 1
  FROM up WHERE up.address IS NOT NULL AND place < %s
),
down(address, place) AS (
  SELECT (SELECT MAX(address) FROM tracking_requestlog WHERE address < %s AND address >= %s), 1
  UNION ALL
  SELECT (SELECT MAX(l.address) FROM tracking_requestlog l
    WHERE l.address < down.address AND l.address >= %s), place + 1
  FROM down WHERE down.address IS NOT NULL AND place < %s
),
n(side, address) AS (SELECT 'up', address FROM up UNION ALL SELECT 'down', address FROM down)"""
_LISTED = "n(side, address) AS (VALUES {})"
_NEIGHBOURS = """
WITH {found}
SELECT side, {shown},
  (SELECT COUNT(*) FROM
    (SELECT 1 FROM tracking_requestlog l WHERE l.address = n.address LIMIT %s) counted),
  (SELECT MAX(l.at) FROM tracking_requestlog l WHERE l.address = n.address)
FROM n WHERE n.address IS NOT NULL
"""

Tally: TypeAlias = tuple[
    tuple[str | None, int], ...
]  # what, and how often; the most frequent first


@dataclass(frozen=True, slots=True)
class Activity:
    """The newest requests of an address, counted; `complete` when these are all of them.

    A request with several operations or tags counts for each of them.
    """

    requests: int
    complete: bool
    since: datetime | None
    verdicts: Tally
    status_classes: Tally
    paths: Tally
    agents: Tally
    users: Tally
    operations: Tally
    tags: Tally


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another address of the network; its `requests` are counted up to MOST_COUNTED."""

    address: str
    requests: int
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The addresses of a network that are on record, the busiest first.

    Not `complete`: there are more, farther away from the one that was asked about.
    """

    neighbours: tuple[Neighbour, ...]
    complete: bool


def requests_from(address: IPAddress) -> QuerySet[RequestLog]:
    """Return the requests of an address, the newest first."""
    return RequestLog.objects.filter(ipstorage.at(address)).order_by("-at", "-id")


def seen(address: IPAddress) -> tuple[datetime, datetime] | None:
    """Return when the first and the last request on record came; None when there is none."""
    times = requests_from(address).values_list("at", flat=True)
    last = times.first()
    first = times.reverse().first()
    return None if first is None or last is None else (first, last)


def activity(address: IPAddress) -> Activity:
    """Count the NEWEST requests of an address."""
    words = (Cast(column, TextField()) for column in ("operations", "tags"))  # split once below
    columns = ("at", "verdict", "status", "path", "user_agent", "username")
    rows = list(requests_from(address).values_list(*columns, *words)[: NEWEST + 1])
    newest = rows[:NEWEST]
    if not newest:
        return Activity(0, True, None, *((),) * 7)
    times, verdicts, statuses, paths, agents, users, operations, tags = zip(*newest, strict=True)
    return Activity(
        requests=len(newest),
        complete=len(rows) <= NEWEST,
        since=times[-1],
        verdicts=_tally(Counter(verdicts)),
        status_classes=_tally(Counter(f"{status // 100}xx" for status in statuses)),
        paths=_tally(Counter(paths)),
        agents=_tally(_families(agents)),
        users=_tally(Counter(name or None for name in users)),
        operations=_tally(_words(operations)),
        tags=_tally(_words(tags)),
    )


def neighbours(address: IPAddress) -> Neighbourhood:
    """Return the other addresses of the network around an address.

    One statement finds them, and counts at most MOST_COUNTED requests of each. Where not all of an
    address is kept, they are never complete.
    """
    address = ipstorage.stored(address)
    network, connection = network_around(address), connections[RequestLog.objects.db]
    found, parameters = _found(address, network, connection)
    shown = "host(n.address)" if connection.vendor == "postgresql" else "n.address"
    with connection.cursor() as cursor:
        cursor.execute(_NEIGHBOURS.format(found=found, shown=shown), [*parameters, MOST_COUNTED])
        rows = cursor.fetchall()
    sides = Counter(side for side, *_ in rows)
    others = [
        Neighbour(_ADDRESS.from_db_value(text, None, connection) or "", requests, _moment(at))
        for _, text, requests, at in rows
        if requests
    ]
    others.sort(key=lambda each: (-each.requests, -each.last_seen.timestamp()))
    return Neighbourhood(
        tuple(others),
        complete=ipstorage.is_full() and max(sides.values(), default=0) < MOST_NEIGHBOURS,
    )


def _found(
    address: IPAddress, network: IPNetwork, connection: BaseDatabaseWrapper
) -> tuple[str, list[Any]]:
    """Return the SQL that names the neighbours on either side, and its parameters."""

    def prepared(each: IPAddress) -> Any:
        return _ADDRESS.get_db_prep_value(each, connection)

    if network.num_addresses <= MOST_NEIGHBOURS:
        others = [prepared(each) for each in network if each != address]
        return _LISTED.format(", ".join(["('', %s)"] * len(others))), others
    here, first, last = prepared(address), prepared(network[0]), prepared(network[-1])
    most = MOST_NEIGHBOURS
    return _WALKED, [here, last, last, most, here, first, first, most]


def rules_about(address: IPAddress, place: Place, now: datetime) -> QuerySet[AccessRule]:
    """Return the rules in force that match an address by itself, its networks or its place."""
    return AccessRule.objects.live(now).about(address, place).order_by("-created_at", "-id")


def past_rules_about(address: IPAddress, now: datetime) -> QuerySet[AccessRule]:
    """Return the rules on an address or a network around it that are over, the newest first."""
    own = network_of(address, 128)
    over = AccessRule.objects.filter(Q(ended_at__isnull=False) | Q(expires_at__lte=now))
    # The starts are for the index, which knows no targets of rules that are over.
    starts = {each[0] for each in holding(own)}
    return over.covering(own).filter(first__in=starts).order_by("-created_at", "-id")


def suspicions_of(address: IPAddress) -> QuerySet[SuspiciousIP]:
    """Return the suspicions of an address or a network around it, the newest first."""
    found = SuspiciousIP.objects.covering(network_of(address, 128))
    if not ipstorage.is_full():
        found |= SuspiciousIP.objects.covering(ipstorage.client_of(address))
    return found.order_by("-last_seen", "-id")


def attempts_from(address: IPAddress) -> QuerySet[LoginAttempt]:
    """Return the attempts to log in from an address, the newest first."""
    return LoginAttempt.objects.filter(ipstorage.at(address)).order_by("-at", "-id")


def _tally(counter: Counter[Any]) -> Tally:
    return tuple(counter.most_common(MOST_KINDS))


def _words(texts: Iterable[str]) -> Counter[str]:
    """Count in how many of the texts each word stands."""
    found: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        found.update(dict.fromkeys(text.split(), times))
    return found


def _families(agents: Iterable[str]) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for agent, times in Counter(agents).items():
        found[_family(agent.lower())] += times
    return found


def _family(agent: str) -> str | None:
    if not agent:
        return None
    return next((name for word, name in AGENT_FAMILIES if word in agent), OTHER)


def _moment(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at
