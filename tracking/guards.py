"""What keeps a rule from hitting the wrong ones: one place for people, detectors and imports.

Whoever asks holds the lock of the book of rules, so that nothing changes between the answer and
the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from ipaddress import ip_network

from django.db.models import QuerySet

from tracking import conf, geo
from tracking.audit import Actor
from tracking.automatic import check_automatic
from tracking.engine.address import (
    IPAddress,
    IPNetwork,
    Scope,
    holding,
    network_of,
    parse_network,
    scope_of,
)
from tracking.engine.place import NOWHERE, Place
from tracking.engine.rules import (
    ANY_COUNTRY,
    Rule,
    RuleAction,
    RuleKind,
    RuleSet,
    Target,
    target_of_network,
)
from tracking.models import AccessRule
from tracking.proposals import (
    AlreadyAllowedError,
    AlreadyBlockedError,
    Proposal,
    ProtectedTargetError,
    TooWideError,
    UnfitError,
    WouldLockOutError,
    check_expiry,
    check_values,
)

WIDEST = {4: 8, 6: 32}  # prefix lengths; anything wider takes force
NEVER: tuple[IPNetwork, ...] = (
    ip_network("127.0.0.0/8"),
    ip_network("::1/128"),
    ip_network("0.0.0.0/32"),  # stands for all whose address is not known (engine.forwarding)
)
FEW = 32  # targets, up to which only the rules about them are read


class Book:
    """The live rules that matter for some targets, as they stand while the book is locked."""

    def __init__(self, actor: Actor, targets: Sequence[Target], now: datetime) -> None:
        self.actor, self.now = actor, now
        self.changed: list[AccessRule] = []  # rules made and ended, for who tells of them
        self.place = geo.locate(actor.address) if actor.address is not None else NOWHERE
        self.protected = tuple(_protected(actor))
        self._rules: dict[int, AccessRule] = {}
        self._set = RuleSet(unknown_is_any=conf.current().unknown_country == "any")
        self.add(self._wanted(AccessRule.objects.live(now), targets))

    def add(self, rows: Iterable[AccessRule]) -> None:
        rows = list(rows)
        self._rules.update((row.pk, row) for row in rows)
        self._set.put_all(
            (row.kind, row.target, Rule(row.pk, RuleAction(row.action))) for row in rows
        )

    def covering(self, target: Target) -> list[AccessRule]:
        """Return the rules about a target or a network that holds it, the narrowest first."""
        network = target.network
        if network is None:
            return [row for row in self._rules.values() if row.target == target.text]
        found = [self._rules[rule.id] for rule in self._set.matching(network[0])]
        return [row for row in found if (row.prefix or 0) <= network.prefixlen]

    def locks_out(self, without: Iterable[AccessRule]) -> bool:
        """Tell whether the actor would be refused if these rules were lifted."""
        if self.actor.address is None:
            return False
        lifted = {row.pk for row in without}
        for rule in self._set.matching(self.actor.address, self.place):
            row = self._rules[rule.id]
            if row.pk in lifted or row.observed or not row.is_live(self.now):
                continue
            if row.action == RuleAction.BLOCK:
                return True
            if _is_plain(row):
                return False
        return False

    def _wanted(
        self, live: QuerySet[AccessRule], targets: Sequence[Target]
    ) -> QuerySet[AccessRule]:
        if len(targets) > FEW:
            return live
        networks = [target.network for target in targets if target.network is not None]
        about = {target.text for target in (*targets, *map(target_of_network, self.protected))}
        for network in (*networks, *self.protected):
            about |= {target_of_network(wider).text for wider in holding(network)}
        places = {ANY_COUNTRY, self.place.country or "", f"AS{self.place.asn}"}
        return live.filter(target__in=about | places)


def check(book: Book, proposal: Proposal) -> None:
    """Return when a rule may be made. Raises BlockingError."""
    check_values(proposal, book.now)
    same = [row for row in book.covering(proposal.target) if _is_same(row, proposal)]
    if same and proposal.action is RuleAction.ALLOW:
        raise AlreadyAllowedError(proposal.target)
    if same:
        raise AlreadyBlockedError(same[0])
    _check_width(book, proposal)
    if proposal.action is RuleAction.BLOCK and not proposal.observed:
        _check_protected(book, proposal)
        _check_covered(book, proposal)
    if proposal.origin == AccessRule.Origin.AUTOMATIC:
        check_automatic(proposal.target, book.now)


def check_extension(book: Book, row: AccessRule, expires_at: datetime | None) -> None:
    """Return when a live rule may last until another moment. Raises BlockingError."""
    check_expiry(expires_at, book.now)
    if row.origin == AccessRule.Origin.AUTOMATIC and expires_at is None:
        raise UnfitError("duration", "What is blocked automatically is blocked for some time.")
    if row.observed:
        return
    if row.action == RuleAction.BLOCK:
        longer = Proposal(
            target=target_of(row), action=RuleAction.BLOCK, expires_at=expires_at, force=True
        )
        _check_width(book, longer)
        _check_protected(book, longer)
    elif not _lasts(expires_at, row.expires_at) and book.locks_out(without=[row]):
        assert book.actor.address is not None  # noqa: S101 - nobody else can be locked out
        raise WouldLockOutError(book.actor.address)


def _check_width(book: Book, proposal: Proposal) -> None:
    network = proposal.target.network
    if network is not None:
        if network.prefixlen >= WIDEST[network.version]:
            return
        wide = f"{network} is wider than /{WIDEST[network.version]}"
    elif proposal.target.text == ANY_COUNTRY and not _allows_a_country(book, proposal):
        wide = "No country is allowed: this would refuse all"
    else:
        return
    if not (proposal.force and book.actor.is_superuser):
        raise TooWideError(f"{wide}. A superuser may do this with force.")


def _check_protected(book: Book, proposal: Proposal) -> None:
    target = proposal.target
    for row in book.covering(target):
        if row.action == RuleAction.ALLOW and _is_plain(row):
            raise ProtectedTargetError(f"{row.target} is allowed: disallow it first.")
    if target.network is None:
        _check_protected_places(book, target)
        return
    for network in book.protected:
        if _overlap(network, target.network) and not _is_shielded(book, network, proposal):
            if book.actor.address is not None and network == network_of(book.actor.address, 128):
                raise WouldLockOutError(book.actor.address)
            raise ProtectedTargetError(
                f"{network} may never be blocked: it is loopback, a trusted proxy or unknown."
            )


def _check_protected_places(book: Book, target: Target) -> None:
    for network in book.protected:
        address = network[0]
        place = geo.locate(address)
        if not _is_there(target, address, place) or _is_let_in(book, network, target):
            continue
        if address == book.actor.address:
            raise WouldLockOutError(address)
        raise ProtectedTargetError(f"{network} is there, and may never be blocked.")


def _check_covered(book: Book, proposal: Proposal) -> None:
    """Refuse a rule that would change nothing, because a wider one does the same for as long."""
    for row in book.covering(proposal.target):
        if not _is_plain(row):
            continue
        if row.action == RuleAction.BLOCK and _lasts(row.expires_at, proposal.expires_at):
            raise AlreadyBlockedError(row)
        return


def _is_shielded(book: Book, network: IPNetwork, proposal: Proposal) -> bool:
    """Tell whether a narrower rule lets a protected network in as long as the block lasts."""
    target = proposal.target.network
    return target is not None and any(
        row.action == RuleAction.ALLOW
        and _is_plain(row)
        and (row.prefix or 0) > target.prefixlen
        and _lasts(row.expires_at, proposal.expires_at)
        for row in book.covering(target_of_network(network))
    )


def _is_there(target: Target, address: IPAddress, place: Place) -> bool:
    if target.text == ANY_COUNTRY and place.country is None:
        any_is_meant = conf.current().unknown_country == "any"
        return any_is_meant and scope_of(address) is Scope.GLOBAL
    return target.covers(address, place)


def _is_let_in(book: Book, network: IPNetwork, target: Target) -> bool:
    """Tell whether a more specific rule than one on a country or ASN lets a network in."""
    rows = book.covering(target_of_network(network))
    if target.text == ANY_COUNTRY and (country := geo.locate(network[0]).country):
        rows += book.covering(Target(RuleKind.COUNTRY, country))
    return any(row.action == RuleAction.ALLOW and _is_plain(row) for row in rows)


def _allows_a_country(book: Book, proposal: Proposal) -> bool:
    if proposal.action is RuleAction.ALLOW:
        return False
    live = AccessRule.objects.live(book.now).filter(kind=RuleKind.COUNTRY)
    return live.filter(action=RuleAction.ALLOW).exclude(target=ANY_COUNTRY).exists()


def _protected(actor: Actor) -> Iterator[IPNetwork]:
    if actor.address is not None:
        yield network_of(actor.address, 128)
    yield from NEVER
    yield from conf.current().trusted_proxies


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)


def target_of(row: AccessRule) -> Target:
    """Return the target of a rule in the book."""
    network = parse_network(row.target) if row.first is not None else None
    return Target(RuleKind(row.kind), row.target, network)


def _is_plain(row: AccessRule) -> bool:
    """Tell whether a rule decides, and for every path and method."""
    return not (row.observed or row.path or row.methods)


def _is_same(row: AccessRule, proposal: Proposal) -> bool:
    return (row.target, row.action, row.observed, row.path, tuple(row.methods)) == (
        proposal.target.text,
        proposal.action,
        proposal.observed,
        proposal.path,
        proposal.methods,
    )


def _lasts(expires_at: datetime | None, until: datetime | None) -> bool:
    return expires_at is None or (until is not None and expires_at >= until)
