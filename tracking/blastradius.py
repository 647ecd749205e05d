"""Whom a rule would have hit: the requests of the last days that it would have refused.

The record is asked span by span, the newest first, until it is through or the time is used up.
Where other rules may come first, what it holds is put to the same decision as live requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from tracking import conf, ipstorage, policy
from tracking.audit import Actor
from tracking.engine.address import IPAddress, Scope, parse_address, scope_of
from tracking.engine.place import Place
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import ANY_COUNTRY, RuleKind
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Visit
from tracking.guards import Book, check
from tracking.models import AccessRule, RequestLog, RequestLogQuerySet
from tracking.proposals import BlockingError, Proposal
from tracking.timebudget import OutOfTime, TimeBudget

DAYS = 7
FIRST_SPAN = timedelta(hours=1)  # of the record that is asked for at once
QUICK = 0.1  # seconds; where that was quick, twice as much is asked for next
MOST_GROUPS = 100_000  # of requests that are alike; more of them at once would fill the memory
AT_ONCE = 2_000  # of them are decided on before the time is looked at
MOST_USERS = 20  # that are named
LET_THROUGH = (VerdictKind.ALLOWED, VerdictKind.OBSERVED)
PROPOSED = 2**63  # the number of the proposed rule: newer than that of any row


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a rule would have refused of the requests since a moment.

    `users` are the names seen most often, of `user_count` in all; `countries` come with their
    requests, the most first, and None for unknown. Not `complete`: the time was used up, or there
    was too much, and only what came since `since` is certain to be counted; or the record does not
    say who came from the network (TRACKING_IP_STORAGE).
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

    def add(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self.addresses[group.address] += group.number
            self.countries[group.country] += group.number
            if group.username:
                self.users[group.username] += group.number


def of(proposal: Proposal, budget: TimeBudget, now: datetime | None = None) -> BlastRadius:
    """Return what a rule that blocks would have refused, had it been in force for DAYS days.

    Requests that were refused anyway do not count, nor those that a more specific rule of today
    lets in or refuses. Where there is no time for all of it, the newest are counted.
    """
    now = timezone.now() if now is None else now
    tally, since, span, network = Tally(), now, FIRST_SPAN, proposal.target.network
    oldest = now - timedelta(days=DAYS)
    complete = True
    try:
        with budget.spending():
            others = _others(proposal, now)
            scoped = _is_scoped(proposal, others)
            refused = partial(_refused if others.exists() else _meant, proposal, now)
        while complete and since > oldest:
            left, start = budget.left, max(oldest, since - span)
            with budget.spending():
                groups = _groups(proposal, start, since, scoped)
            complete = len(groups) <= MOST_GROUPS
            for first in range(0, len(groups), AT_ONCE):
                with budget.spending():
                    tally.add(refused(groups[first : first + AT_ONCE]))
            since = start if complete else since
            span *= 2 if left - budget.left < QUICK else 1
    except OutOfTime:
        complete = False
    return BlastRadius(
        since=since,
        complete=complete and (network is None or ipstorage.tells(network)),
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


def _groups(proposal: Proposal, start: datetime, end: datetime, scoped: bool) -> list[Group]:
    columns = ["address", "country", "asn", "username"]
    columns += ["path", "method"] if scoped else []
    rows = _about(proposal, RequestLog.objects.window(start, end).filter(verdict__in=LET_THROUGH))
    found = rows.order_by().values(*columns).annotate(number=Count("pk"))[: MOST_GROUPS + 1]
    # A pseudonym matches no rule: it stands here for the one address that is meant.
    hidden = _hidden(proposal)
    told = {} if hidden is None else {"address": str(hidden)}
    return [Group(**{"path": "", "method": "", **group, **told}) for group in found]


def _hidden(proposal: Proposal) -> IPAddress | None:
    """Return the one address that is meant, where the record has it under a pseudonym."""
    network = proposal.target.network
    if network is None or network.num_addresses > 1 or ipstorage.is_full():
        return None
    return network[0] if ipstorage.tells(network) else None


def _about(proposal: Proposal, rows: RequestLogQuerySet) -> QuerySet[RequestLog]:
    """Return the rows whose client the target may be about; the decision is for later."""
    target = proposal.target
    if target.network is not None:
        if (hidden := _hidden(proposal)) is not None:
            return rows.filter(ipstorage.at(hidden))
        return rows.inside(target.network)
    if target.kind is RuleKind.ASN:
        return rows.filter(asn=int(target.text.removeprefix("AS")))
    if target.text != ANY_COUNTRY:
        return rows.filter(country=target.text)
    return rows if conf.current().unknown_country == "any" else rows.exclude(country="")


def _others(proposal: Proposal, now: datetime) -> QuerySet[AccessRule]:
    """Return the live rules that may decide before this one, so that each client must be tried."""
    target, live = proposal.target, AccessRule.objects.live(now)
    if target.network is not None:
        return live.inside(target.network)
    closer = [RuleKind.ADDRESS, RuleKind.NETWORK]
    closer += [RuleKind.ASN] if target.kind is RuleKind.COUNTRY else []
    closer += [RuleKind.COUNTRY] if target.text == ANY_COUNTRY else []
    return live.filter(Q(kind__in=closer) | Q(target=target.text))


def _is_scoped(proposal: Proposal, others: QuerySet[AccessRule]) -> bool:
    """Tell whether it may depend on path and method who decides."""
    if proposal.path or proposal.methods:
        return True
    return others.exclude(path="", methods="").exists()


def _meant(proposal: Proposal, _: datetime, groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups that the rule is about; where no other comes first it refuses them."""
    proposed = _proposed(proposal)
    for group in groups:
        # Of those whose country is unknown, public addresses alone are meant by any country.
        if proposal.target.text == ANY_COUNTRY and not group.country and not _is_public(group):
            continue
        if proposed.is_about(unquote(group.path), group.method):
            yield group


def _is_public(group: Group) -> bool:
    return scope_of(parse_address(group.address)) is Scope.GLOBAL


def _refused(proposal: Proposal, now: datetime, groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups that the rule would refuse, were it in the book beside the live ones."""
    visits = [_visit(group, now) for group in groups]
    rules = _with_others(proposal, visits)
    for visit, group in zip(visits, groups, strict=True):
        verdict = rules.decide(visit, now)
        if verdict.refused and verdict.rule == PROPOSED:
            yield group


def _with_others(proposal: Proposal, visits: Sequence[Visit]) -> RuleSet:
    """Return the proposed rule among those live rules that match any of the visits."""
    live = policy.current()
    clients = {(visit.address, visit.place) for visit in visits}
    numbers = {rule.id for client in clients for rule in live.matching(*client)}
    rules = RuleSet(unknown_is_any=conf.current().unknown_country == "any")
    rules.put_all(
        (row.kind, row.target, _rule(row)) for row in AccessRule.objects.in_bulk(numbers).values()
    )
    rules.put(proposal.target.kind, proposal.target.text, _proposed(proposal))
    return rules


def _proposed(proposal: Proposal) -> Rule:
    return Rule(PROPOSED, RuleAction.BLOCK, path=proposal.path, methods=proposal.methods)


def _rule(row: AccessRule) -> Rule:
    action, methods = RuleAction(row.action), tuple(row.methods)
    return Rule(row.pk, action, row.observed, row.expires_at, row.path, methods)


def _visit(group: Group, now: datetime) -> Visit:
    place = Place(group.country or None, None, group.asn)
    address, path = parse_address(group.address), unquote(group.path)
    return Visit(now, 0.0, "", address, group.method, "", group.path, path, place)
