"""Whom a rule would have hit: the requests of the last days that it would have refused.

The record is asked day by day, the newest first, until it is through or the time is used up, and
what it holds is put to the same decision as live requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import unquote

from django.db.models import Count, QuerySet
from django.utils import timezone

from tracking import conf, policy
from tracking.audit import Actor
from tracking.engine.address import parse_address
from tracking.engine.place import Place
from tracking.engine.rules import ANY_COUNTRY, Rule, RuleAction, RuleKind, RuleSet
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Visit
from tracking.guards import Book, check
from tracking.models import AccessRule, RequestLog, RequestLogQuerySet
from tracking.proposals import BlockingError, Proposal
from tracking.timebudget import OutOfTime, TimeBudget

DAYS = 7
MOST_GROUPS = 100_000  # of a day's requests that are alike; more of them would fill the memory
MOST_USERS = 20  # that are named
LET_THROUGH = (VerdictKind.ALLOWED, VerdictKind.OBSERVED)
PROPOSED = 2**63  # the number of the proposed rule: newer than that of any row


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a rule would have refused of the requests since a moment.

    `users` are the names seen most often, of `user_count` in all; `countries` come with their
    requests, the most first, and None for unknown. Not `complete`: the time was used up, or there
    was too much, and only what came since `since` is certain to be counted.
    """

    since: datetime
    complete: bool
    requests: int
    addresses: int
    user_count: int
    users: tuple[str, ...]
    countries: tuple[tuple[str | None, int], ...]


class Group(NamedTuple):
    """Requests that are alike, and how many there are."""

    address: str
    country: str
    asn: int | None
    username: str
    path: str
    method: str
    number: int


@dataclass(slots=True)
class Tally:
    """What has been counted so far."""

    addresses: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)

    def add(self, group: Group) -> None:
        self.addresses[group.address] += group.number
        self.countries[group.country] += group.number
        if group.username:
            self.users[group.username] += group.number


def of(proposal: Proposal, budget: TimeBudget, now: datetime | None = None) -> BlastRadius:
    """Return what a rule that blocks would have refused, had it been in force for DAYS days.

    Requests that were refused anyway do not count, nor those that a more specific rule of today
    lets in or refuses. Where there is no time for all of it, the newest days are counted.
    """
    now = timezone.now() if now is None else now
    tally, since, complete = Tally(), now, True
    try:
        for start, end in _days(now):
            with budget.spending():
                groups = _groups(proposal, start, end)
                for group in _refused(proposal, groups[:MOST_GROUPS], now):
                    tally.add(group)
            if len(groups) > MOST_GROUPS:
                complete = False
                break
            since = start
    except OutOfTime:
        complete = False
    return BlastRadius(
        since=since,
        complete=complete,
        requests=tally.addresses.total(),
        addresses=len(tally.addresses),
        user_count=len(tally.users),
        users=tuple(name for name, _ in tally.users.most_common(MOST_USERS)),
        countries=tuple((code or None, number) for code, number in tally.countries.most_common()),
    )


def rehearse(actor: Actor, proposal: Proposal) -> BlockingError | None:
    """Return why a rule could not be made, None when it could; nothing is changed or locked."""
    try:
        check(Book(actor, [proposal.target], timezone.now()), proposal)
    except BlockingError as error:
        return error
    return None


def _days(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    day = timedelta(days=1)
    for number in range(DAYS):
        yield now - (number + 1) * day, now - number * day


def _groups(proposal: Proposal, start: datetime, end: datetime) -> list[Group]:
    columns = ["address", "country", "asn", "username"]
    columns += ["path"] if proposal.path else []
    columns += ["method"] if proposal.methods else []
    rows = _about(proposal, RequestLog.objects.window(start, end).filter(verdict__in=LET_THROUGH))
    found = rows.order_by().values(*columns).annotate(number=Count("pk"))[: MOST_GROUPS + 1]
    return [Group(**{"path": "", "method": "", **group}) for group in found]


def _about(proposal: Proposal, rows: RequestLogQuerySet) -> QuerySet[RequestLog]:
    """Return the rows whose client the target may be about; the decision is for later."""
    target = proposal.target
    if target.network is not None:
        return rows.inside(target.network)
    if target.kind is RuleKind.ASN:
        return rows.filter(asn=int(target.text.removeprefix("AS")))
    if target.text != ANY_COUNTRY:
        return rows.filter(country=target.text)
    return rows if conf.current().unknown_country == "any" else rows.exclude(country="")


def _refused(proposal: Proposal, groups: list[Group], now: datetime) -> Iterator[Group]:
    """Yield the groups that the rule would refuse, were it in the book beside the live ones."""
    visits = [_visit(group, now) for group in groups]
    rules = _with_others(proposal, visits)
    for visit, group in zip(visits, groups, strict=True):
        verdict = rules.decide(visit, now)
        if verdict.refused and verdict.rule == PROPOSED:
            yield group


def _with_others(proposal: Proposal, visits: list[Visit]) -> RuleSet:
    """Return the proposed rule among those live rules that match any of the visits."""
    live = policy.current()
    clients = {(visit.address, visit.place) for visit in visits}
    numbers = {rule.id for client in clients for rule in live.matching(*client)}
    rules = RuleSet(unknown_is_any=conf.current().unknown_country == "any")
    rules.put_all(
        (row.kind, row.target, _rule(row)) for row in AccessRule.objects.in_bulk(numbers).values()
    )
    proposed = Rule(PROPOSED, RuleAction.BLOCK, path=proposal.path, methods=proposal.methods)
    rules.put(proposal.target.kind, proposal.target.text, proposed)
    return rules


def _rule(row: AccessRule) -> Rule:
    action, methods = RuleAction(row.action), tuple(row.methods)
    return Rule(row.pk, action, row.observed, row.expires_at, row.path, methods)


def _visit(group: Group, now: datetime) -> Visit:
    place = Place(group.country or None, None, group.asn)
    address, path = parse_address(group.address), unquote(group.path)
    return Visit(now, 0.0, "", address, group.method, "", group.path, path, place)
