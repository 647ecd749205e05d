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
    IPNetwork,
    Scope,
    network_of,
    parse_network,
    scope_of,
)
from tracking.engine.place import Place
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import ANY_COUNTRY, RuleKind, Target, target_of_network, texts_around
from tracking.models import AccessRule
from tracking.proposals import (
    AlreadyAllowedError,
    AlreadyBlockedError,
    BlockingError,
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
        own = [] if actor.address is None else [network_of(actor.address, 128)]
        protected = (*own, *NEVER, *conf.current().trusted_proxies)
        self.protected = {network: geo.locate(network[0]) for network in protected}
        self.rules: dict[int, AccessRule] = {}
        self._about: dict[str, dict[int, AccessRule]] = {}  # the same by target
        self._set = RuleSet(unknown_is_any=conf.current().unknown_country == "any")
        self.add(self._wanted(AccessRule.objects.live(now), targets))

    def add(self, rows: Iterable[AccessRule]) -> None:
        for row in rows:
            self.rules[row.pk] = row
            self._about.setdefault(row.target, {})[row.pk] = row
            self._set.put(row.kind, row.target, Rule(row.pk, RuleAction(row.action)))

    def covering(self, target: Target) -> list[AccessRule]:
        """Return the rules about a target or a network that holds it, the narrowest first."""
        network = target.network
        if network is None:
            return [*self._about.get(target.text, {}).values()]
        found = [self.rules[rule.id] for rule in self._set.matching(network[0])]
        return [row for row in found if row.prefix is not None and row.prefix <= network.prefixlen]

    def exposed(self, without: Iterable[AccessRule]) -> Iterator[IPNetwork]:
        """Yield what may never be blocked, and would be if these rules were lifted."""
        lifted = {row.pk for row in without}
        for network, place in self.protected.items():
            found = [self.rules[rule.id] for rule in self._set.matching(network[0], place)]
            rest = [row for row in found if row.pk not in lifted]
            if len(rest) < len(found) and self._refuses(rest):
                yield network

    def _refuses(self, rows: Iterable[AccessRule]) -> bool:
        """Tell whether rules, the deciding one first, refuse anything of whom they match."""
        for row in rows:
            if row.observed or not row.is_live(self.now):
                continue
            if row.action == RuleAction.BLOCK:
                return True
            if is_plain(row):
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
            about.update(texts_around(network))
        about |= {place.country or ANY_COUNTRY for place in self.protected.values()}
        about |= {ANY_COUNTRY, *(f"AS{place.asn}" for place in self.protected.values())}
        return live.filter(target__in=about)


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
    elif not _lasts(expires_at, row.expires_at):
        check_lift(book, [row])


def check_lift(book: Book, rows: Sequence[AccessRule]) -> None:
    """Return when rules may end, all together. Raises BlockingError.

    Who lifts what he put in front of a block does what that block alone was not allowed to.
    """
    allowing = [row for row in rows if row.action == RuleAction.ALLOW]
    for network in book.exposed(without=rows) if allowing else ():
        raise _never(book, network)
    _check_countries_left(book, rows)


def _check_countries_left(book: Book, rows: Sequence[AccessRule]) -> None:
    """Keep the last country that is allowed, while all others are refused: it would be next."""
    lifted = {row.pk for row in rows}
    countries = AccessRule.objects.live(book.now).filter(kind=RuleKind.COUNTRY)
    left = [row for row in countries.exclude(pk__in=lifted) if is_plain(row)]
    if (
        any(row.kind == RuleKind.COUNTRY and row.action == RuleAction.ALLOW for row in rows)
        and any(row.target == ANY_COUNTRY and row.action == RuleAction.BLOCK for row in left)
        and not any(row.action == RuleAction.ALLOW for row in left)
    ):
        raise TooWideError("No country would be allowed: let all in again first (lift *).")


def _check_width(book: Book, proposal: Proposal) -> None:
    network = proposal.target.network
    if network is not None:
        if network.prefixlen >= WIDEST[network.version]:
            return
        wide = f"{network} is wider than /{WIDEST[network.version]}"
    elif proposal.target.text != ANY_COUNTRY:
        return
    elif proposal.action is RuleAction.ALLOW:
        wide = "This would let in every country"
    elif _allows_a_country(book):
        return
    else:
        wide = "No country is allowed: this would refuse all"
    if not (proposal.force and book.actor.is_superuser):
        raise TooWideError(f"{wide}. A superuser may do this with force.")


def _check_protected(book: Book, proposal: Proposal) -> None:
    for row in book.covering(proposal.target):
        if row.action == RuleAction.ALLOW and is_plain(row):
            raise ProtectedTargetError(f"{row.target} is allowed: disallow it first.")
    for network, place in book.protected.items():
        is_there = _is_there(proposal.target, network, place)
        if is_there and not _is_shielded(book, network, proposal):
            raise _never(book, network)


def _never(book: Book, network: IPNetwork) -> BlockingError:
    """Return why what is protected cannot be blocked."""
    if book.actor.address is not None and network == network_of(book.actor.address, 128):
        return WouldLockOutError(book.actor.address)
    why = f"{network} may never be blocked: it is loopback, a trusted proxy or unknown."
    return ProtectedTargetError(why)


def _check_covered(book: Book, proposal: Proposal) -> None:
    """Refuse a rule that would change nothing, because a wider one does the same for as long."""
    for row in book.covering(proposal.target):
        if not is_plain(row):
            continue
        if row.action == RuleAction.BLOCK and _lasts(row.expires_at, proposal.expires_at):
            raise AlreadyBlockedError(row)
        return


def _is_shielded(book: Book, network: IPNetwork, proposal: Proposal) -> bool:
    """Tell whether a more specific rule lets a protected network in as long as the block lasts."""
    target = proposal.target
    rows = book.covering(target_of_network(network))
    if target.network is not None:
        rows = [row for row in rows if (row.prefix or 0) > target.network.prefixlen]
    elif target.kind is RuleKind.COUNTRY:
        place = book.protected[network]
        rows += book.covering(Target(RuleKind.ASN, f"AS{place.asn}"))
        if target.text == ANY_COUNTRY:
            rows += book.covering(Target(RuleKind.COUNTRY, place.country or ""))
    return any(
        row.action == RuleAction.ALLOW
        and is_plain(row)
        and _lasts(row.expires_at, proposal.expires_at)
        for row in rows
    )


def _is_there(target: Target, network: IPNetwork, place: Place) -> bool:
    """Tell whether some of a protected network, which is at this place, is meant."""
    if target.network is not None:
        return network.version == target.network.version and network.overlaps(target.network)
    if target.text == ANY_COUNTRY and place.country is None:
        any_is_meant = conf.current().unknown_country == "any"
        return any_is_meant and scope_of(network[0]) is Scope.GLOBAL
    return target.covers(network[0], place)


def _allows_a_country(book: Book) -> bool:
    """Tell whether some country is let in, by a rule that stands or is made along with this."""
    written = AccessRule.objects.live(book.now).filter(kind=RuleKind.COUNTRY)
    return any(
        row.kind == RuleKind.COUNTRY and row.action == RuleAction.ALLOW and is_plain(row)
        for row in (*book.rules.values(), *written)
        if row.target != ANY_COUNTRY
    )


def target_of(row: AccessRule) -> Target:
    """Return the target of a rule in the book."""
    network = parse_network(row.target) if row.first is not None else None
    return Target(RuleKind(row.kind), row.target, network)


def is_plain(row: AccessRule) -> bool:
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
