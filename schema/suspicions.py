"""Suspicious addresses: what detectors found about them, and what people made of it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from django.db.models import F, QuerySet
from strawberry import relay
from strawberry.types import Info

from schema.budget import within_budget
from schema.connections import After, Before, Connection, First, Last, connect
from schema.cost import EVIDENCE, LARGEST_PAGE
from schema.errors import bad_input
from schema.filters import DateTimeRange, searchable
from schema.ids import write_id
from schema.keyset import stated
from schema.permissions import require
from schema.requests import PERMISSION as SEE_REQUESTS
from schema.requests import RequestLog, requests_by_id
from schema.rules import LARGEST_INT, AccessRule, RuleBatch
from schema.rules import PERMISSION as SEE_RULES
from schema.scalars import IPAddress, IPNetwork
from tracking import ipstorage
from tracking.engine.address import network_of, parse_address, parse_network
from tracking.engine.findings import Severity as Degree
from tracking.models import SuspiciousIP as Row
from tracking.models import SuspiciousIPQuerySet

PERMISSION = "tracking.view_suspiciousip"
NARROW = "narrow the filter, best with `lastSeen`, `address` or `network`"
Status = Row.Status


@strawberry.enum(description="How bad it is.")
class Severity(enum.Enum):
    LOW = strawberry.enum_value(Degree.LOW.value, description="Worth knowing.")
    MEDIUM = strawberry.enum_value(Degree.MEDIUM.value, description="Worth a look.")
    HIGH = strawberry.enum_value(Degree.HIGH.value, description="Hardly ever harmless.")


@strawberry.enum(description="What people made of a suspicion.")
class ReviewStatus(enum.Enum):
    OPEN = strawberry.enum_value(Status.OPEN.value, description="Nobody has decided yet.")
    CONFIRMED = strawberry.enum_value(Status.CONFIRMED.value, description="It is justified.")
    FALSE_POSITIVE = strawberry.enum_value(
        Status.FALSE_POSITIVE.value,
        description="It is wrong: its detector does nothing about this target any more.",
    )
    IGNORED = strawberry.enum_value(
        Status.IGNORED.value,
        description="It does not matter: its detector does nothing about this target any more.",
    )


class EvidenceBatch:
    """The requests behind all suspicions of a page: asked for together, when the first of them is.

    `numbers` are those of the requests by suspicion, the newest last.
    """

    def __init__(self, numbers: Iterable[Sequence[int]]) -> None:
        self._numbers = list(numbers)
        self._found: dict[int, dict[int, RequestLog]] = {}

    def get(self, info: Info, numbers: Sequence[int], most: int) -> list[RequestLog]:
        """Return the newest of these requests, the newest first. Raises Refusal."""
        require(info, SEE_REQUESTS)
        if most not in self._found:
            wanted = {number for each in self._numbers for number in each[-most:]}
            with within_budget(info, "ask for fewer suspicions, or a smaller `first` of evidence"):
                self._found[most] = requests_by_id(info, wanted)
        found = self._found[most]
        return [found[number] for number in reversed(numbers[-most:]) if number in found]


@strawberry.type(
    description="An address, or a network that counts as one client, of which a detector found"
    " something."
)
class SuspiciousIP(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    address: IPNetwork = strawberry.field(description="The address or network.")
    detector: str = strawberry.field(description="Which detector, by its name.")
    reason: str = strawberry.field(description="What it found, for people.")
    severity: Severity = strawberry.field(description="How bad the worst of it is.")
    count: int = strawberry.field(
        description="The most it counted in one window; 2147483647 stands for that or more."
    )
    threshold: int = strawberry.field(description="What is too many, from one more on.")
    window_start: datetime = strawberry.field(description="Where its newest window begins.")
    window_end: datetime = strawberry.field(description="Where its newest window ends.")
    first_seen: datetime = strawberry.field(
        description="When the first request behind this suspicion came."
    )
    last_seen: datetime = strawberry.field(
        description="When the last request behind this suspicion came."
    )
    status: ReviewStatus = strawberry.field(description="What people made of it.")
    note: str = strawberry.field(description="What the reviewer wrote; may be empty.")
    reviewed_by: str | None = strawberry.field(
        description="Who reviewed it last, by the name at the time; null for nobody."
    )
    reviewed_at: datetime | None = strawberry.field(
        description="When it was reviewed last; null for never."
    )
    is_suggested: bool = strawberry.field(
        description="Whether a block waits for a person to approve or dismiss it."
    )
    because: str = strawberry.field(
        description="Why the newest finding was not answered with a block at once; empty where it"
        " was, or where nothing but the detector's mode stood in the way."
    )
    suggested_duration: timedelta | None = strawberry.field(
        description="How long the suggested block would last; null where none is suggested."
    )
    numbers: strawberry.Private[Sequence[int]]
    batch: strawberry.Private[EvidenceBatch]
    rule_pk: strawberry.Private[int | None]
    rules: strawberry.Private[RuleBatch]

    @strawberry.field(
        description="Requests behind it that are still on record, the newest first; those of its"
        f" newest window are among them. Needs the permission {SEE_REQUESTS}."
    )
    def evidence(
        self,
        info: Info,
        first: Annotated[
            int, strawberry.argument(description=f"So many at most, 1 to {LARGEST_PAGE}.")
        ] = EVIDENCE,
    ) -> list[RequestLog]:
        if not 1 <= first <= LARGEST_PAGE:
            raise bad_input(f"first must be from 1 to {LARGEST_PAGE}, not {first}.")
        return self.batch.get(info, self.numbers, first)

    @strawberry.field(
        description="The block it led to last, which may be over; null where it led to none. Needs"
        f" the permission {SEE_RULES}."
    )
    def block(self, info: Info) -> AccessRule | None:
        return self.rules.get(info, self.rule_pk)

    @classmethod
    def page(cls, rows: Sequence[Row]) -> list[SuspiciousIP]:
        """Return the nodes of rows that are shown together."""
        batch = EvidenceBatch(row.evidence for row in rows)
        rules = RuleBatch(row.rule_id for row in rows)
        return [cls._of(row, batch, rules) for row in rows]

    @classmethod
    def _of(cls, row: Row, batch: EvidenceBatch, rules: RuleBatch) -> SuspiciousIP:
        return cls(
            pk=row.pk,
            _id=strawberry.ID(write_id("SuspiciousIP", row.pk)),
            address=IPNetwork(row.target),
            detector=row.detector,
            reason=row.reason,
            severity=Severity(row.severity),
            count=min(row.count, LARGEST_INT),
            threshold=min(row.threshold, LARGEST_INT),
            window_start=row.window_start,
            window_end=row.window_end,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            status=ReviewStatus(row.status),
            note=row.note,
            reviewed_by=row.reviewed_by or None,
            reviewed_at=row.reviewed_at,
            is_suggested=row.is_suggested,
            because=row.because,
            suggested_duration=row.duration if row.is_suggested else None,
            numbers=row.evidence,
            batch=batch,
            rule_pk=row.rule_id,
            rules=rules,
        )


@strawberry.input(description="Which suspicions: all of its fields must hold.")
class SuspiciousIPFilter:
    address: IPAddress | None = strawberry.field(
        default=strawberry.UNSET,
        description="Those of this address, or of a network that holds it.",
    )
    network: IPNetwork | None = strawberry.field(
        default=strawberry.UNSET,
        description="Those of this network, or of a part or an address of it.",
    )
    detector: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="The detector is one of these."
    )
    severity: list[Severity] | None = strawberry.field(
        default=strawberry.UNSET, description="The severity is one of these."
    )
    status: list[ReviewStatus] | None = strawberry.field(
        default=strawberry.UNSET, description="What people made of it is one of these."
    )
    is_suggested: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether a block waits for a person."
    )
    last_seen: DateTimeRange | None = strawberry.field(
        default=strawberry.UNSET, description="When the last request behind it came."
    )


@strawberry.type
class SuspicionQueries:
    @strawberry.field(
        description="Addresses and networks of which a detector found something, those with the"
        f" newest requests first. Needs the permission {PERMISSION}."
    )
    def suspicious_ips(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            SuspiciousIPFilter | None, strawberry.argument(description="Which suspicions.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[SuspiciousIP] | None:
        require(info, PERMISSION)
        rows = matching(filter or SuspiciousIPFilter())
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)


def matching(asked: SuspiciousIPFilter) -> QuerySet[Row]:
    """Return the suspicions that fit the filter, with the column `at` that lists go by.

    Raises Refusal BAD_USER_INPUT.
    """
    rows = _about(Row.objects.all(), asked)
    if (detector := stated(asked.detector)) is not None:
        rows = rows.filter(detector__in=[searchable(each, "detector") for each in detector])
    if (severity := stated(asked.severity)) is not None:
        rows = rows.filter(severity__in=[each.value for each in severity])
    if (status := stated(asked.status)) is not None:
        rows = rows.filter(status__in=[each.value for each in status])
    if (is_suggested := stated(asked.is_suggested)) is not None:
        rows = rows.filter(is_suggested=is_suggested)
    if asked.last_seen and asked.last_seen.gte:
        rows = rows.filter(last_seen__gte=asked.last_seen.gte)
    if asked.last_seen and asked.last_seen.lt:
        rows = rows.filter(last_seen__lt=asked.last_seen.lt)
    return rows.annotate(at=F("last_seen"))


def suspicions_by_id(info: Info, pks: Iterable[int]) -> dict[int, SuspiciousIP]:
    """Return the suspicions that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    return _nodes(pks)


def _about(rows: SuspiciousIPQuerySet, asked: SuspiciousIPFilter) -> SuspiciousIPQuerySet:
    if (address := stated(asked.address)) is not None:
        client = parse_address(address)
        about = rows.covering(network_of(client, 128))
        if not ipstorage.is_full():
            about |= rows.covering(ipstorage.client_of(client))
        rows = about
    if (network := stated(asked.network)) is not None:
        rows = rows.inside(parse_network(network))
    return rows


def _nodes(pks: Iterable[int]) -> dict[int, SuspiciousIP]:
    rows = Row.objects.filter(pk__in=list(pks))
    return {node.pk: node for node in SuspiciousIP.page(list(rows))}
