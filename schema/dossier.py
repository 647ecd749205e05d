"""All that is known of one address."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, TypeVar

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.attempts import PERMISSION as SEE_ATTEMPTS
from schema.attempts import LoginAttempt
from schema.budget import within_budget
from schema.explain import AddressScope, VerdictCount
from schema.filters import VerdictKind
from schema.permissions import require
from schema.places import Place, place_of
from schema.requests import COLUMNS, RequestLog
from schema.requests import PERMISSION as SEE_REQUESTS
from schema.rules import PERMISSION as SEE_RULES
from schema.rules import AccessRule
from schema.scalars import IPAddress, IPNetwork
from schema.suspicions import PERMISSION as SEE_SUSPICIONS
from schema.suspicions import SuspiciousIP
from tracking import dossier, geo
from tracking.engine.address import IPAddress as Address
from tracking.engine.address import network_around, parse_address, scope_of

S = TypeVar("S")
T = TypeVar("T")

MOST = 10  # of each list
MOST_IN_FORCE = 100
NARROW = "ask for fewer parts of it, or for fewer addresses at once"
AGAIN = f"at most {MOST}, the newest first"


@strawberry.type(description="One of the things that an address's requests have in common.")
class Frequency:
    value: str | None = strawberry.field(description="What it is; null for none.")
    requests: int = strawberry.field(description="In how many of the requests.")

    @classmethod
    def of(cls, tally: dossier.Tally) -> list[Frequency]:
        return [cls(value=value, requests=number) for value, number in tally]


@strawberry.type(
    description=f"The newest {dossier.NEWEST:,} requests of an address, counted. Of each kind the"
    f" {dossier.MOST_KINDS} most frequent are named, the most frequent first."
)
class AddressActivity:
    requests: int = strawberry.field(description="How many requests were looked at.")
    is_complete: bool = strawberry.field(
        description="Whether these are all of the address that are on record."
    )
    since: datetime | None = strawberry.field(
        description="When the oldest of them came; null for none."
    )
    verdicts: list[VerdictCount] = strawberry.field(description="What was decided about them.")
    status_classes: list[Frequency] = strawberry.field(
        description="How they were answered: 2xx, 3xx, 4xx or 5xx."
    )
    paths: list[Frequency] = strawberry.field(description="What they asked for.")
    agents: list[Frequency] = strawberry.field(
        description="What the client says it is, as AGENT_FAMILY names it; null says nothing."
    )
    users: list[Frequency] = strawberry.field(
        description="Who was signed in; null stands for nobody."
    )
    operations: list[Frequency] = strawberry.field(
        description="The GraphQL operation names and root fields they asked for."
    )
    tags: list[Frequency] = strawberry.field(description="The attack families recognised in them.")


@strawberry.type(description="Another address of the same network.")
class AddressNeighbour:
    address: IPAddress = strawberry.field(description="The address.")
    requests: int = strawberry.field(
        description=f"How many requests it made; {dossier.MOST_COUNTED} stands for that or more."
    )
    last_seen: datetime = strawberry.field(description="When the last of them came.")


@strawberry.type(description="The other addresses of a network that are on record.")
class AddressNeighbours:
    network: IPNetwork = strawberry.field(
        description="The /24 of an IPv4 address, the /64 of an IPv6 one."
    )
    count: int = strawberry.field(description="How many there are, or were looked at.")
    is_complete: bool = strawberry.field(
        description=f"Whether these are all; else only the {dossier.MOST_NEIGHBOURS} nearest on"
        " either side were looked at."
    )
    busiest: list[AddressNeighbour] = strawberry.field(
        description=f"The {MOST} with the most requests, the busiest first."
    )


@strawberry.type(
    description="What is known of one address. Each part is looked up only when it is asked for."
)
class IpReport:
    address: IPAddress = strawberry.field(description="The address, canonical.")
    scope: AddressScope = strawberry.field(description="What kind of address it is.")
    place: Place | None = strawberry.field(description="Where it is; null when unknown.")
    first_seen: datetime | None = strawberry.field(
        description="When its first request on record came; null for none."
    )
    last_seen: datetime | None = strawberry.field(
        description="When its last request on record came; null for none."
    )
    client: strawberry.Private[Address]

    @strawberry.field(description="What it did of late.")
    def activity(self, info: Info) -> AddressActivity | None:
        found = _asked(info, lambda: dossier.activity(self.client))
        return AddressActivity(
            requests=found.requests,
            is_complete=found.complete,
            since=found.since,
            verdicts=[
                VerdictCount(verdict=VerdictKind(kind), requests=number)
                for kind, number in found.verdicts
            ],
            status_classes=Frequency.of(found.status_classes),
            paths=Frequency.of(found.paths),
            agents=Frequency.of(found.agents),
            users=Frequency.of(found.users),
            operations=Frequency.of(found.operations),
            tags=Frequency.of(found.tags),
        )

    @strawberry.field(description=f"Its requests, {AGAIN}.")
    def recent_requests(self, info: Info) -> list[RequestLog] | None:
        rows = dossier.requests_from(self.client).values_list(*COLUMNS)[:MOST]
        return RequestLog.page(_asked(info, lambda: list(rows)))

    @strawberry.field(description="The other addresses of its network.")
    def neighbours(self, info: Info) -> AddressNeighbours | None:
        found = _asked(info, lambda: dossier.neighbours(self.client))
        return AddressNeighbours(
            network=IPNetwork(str(network_around(self.client))),
            count=len(found.neighbours),
            is_complete=found.complete,
            busiest=[
                AddressNeighbour(
                    address=IPAddress(each.address),
                    requests=each.requests,
                    last_seen=each.last_seen,
                )
                for each in found.neighbours[:MOST]
            ],
        )

    @strawberry.field(
        description="The rules in force on it, on a network that holds it, on its country and its"
        f" autonomous system; at most {MOST_IN_FORCE}, the newest first. Needs the permission"
        f" {SEE_RULES}."
    )
    def rules(self, info: Info) -> list[AccessRule] | None:
        require(info, SEE_RULES)
        place = geo.locate(self.client)
        rows = dossier.rules_about(self.client, place, timezone.now())[:MOST_IN_FORCE]
        return _shown(info, AccessRule.of, rows)

    @strawberry.field(
        description=f"The rules on it or a network that holds it that are over; {AGAIN}. Needs the"
        f" permission {SEE_RULES}."
    )
    def past_rules(self, info: Info) -> list[AccessRule] | None:
        require(info, SEE_RULES)
        rows = dossier.past_rules_about(self.client, timezone.now())[:MOST]
        return _shown(info, AccessRule.of, rows)

    @strawberry.field(
        description=f"What detectors found about it or a network that holds it; {AGAIN}. Needs the"
        f" permission {SEE_SUSPICIONS}."
    )
    def suspicions(self, info: Info) -> list[SuspiciousIP] | None:
        require(info, SEE_SUSPICIONS)
        rows = dossier.suspicions_of(self.client)[:MOST]
        return SuspiciousIP.page(_asked(info, lambda: list(rows)))

    @strawberry.field(
        description=f"Attempts to log in from it, by any name; {AGAIN}. Needs the permission"
        f" {SEE_ATTEMPTS}."
    )
    def attempts(self, info: Info) -> list[LoginAttempt] | None:
        require(info, SEE_ATTEMPTS)
        rows = dossier.attempts_from(self.client)[:MOST]
        return _shown(info, LoginAttempt.of, rows)


@strawberry.type
class DossierQueries:
    @strawberry.field(
        description="All that is known of one address, on record or not. Needs the permission"
        f" {SEE_REQUESTS}; some parts need another one besides, and are null with an error without"
        " it."
    )
    def ip(
        self,
        info: Info,
        address: Annotated[IPAddress, strawberry.argument(description="The address.")],
    ) -> IpReport | None:
        require(info, SEE_REQUESTS)
        client = parse_address(address)
        times = _asked(info, lambda: dossier.seen(client))
        return IpReport(
            address=IPAddress(str(client)),
            scope=AddressScope(scope_of(client)),
            place=place_of(str(client)),
            first_seen=times[0] if times else None,
            last_seen=times[1] if times else None,
            client=client,
        )


def _asked(info: Info, question: Callable[[], T]) -> T:
    """Return the answer, read within the time of the request. Raises Refusal."""
    with within_budget(info, NARROW):
        return question()


def _shown(info: Info, node_of: Callable[[S], T], rows: Iterable[S]) -> list[T]:
    return [node_of(row) for row in _asked(info, lambda: list(rows))]
