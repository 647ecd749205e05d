"""Change the rules: the only writer of the book, and each change stands in the audit log.

Every verb runs in one transaction that first raises the version of the book. That locks it, so
that changes come one after the other; whoever polls the version (tracking.policy) then loads what
is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F
from django.utils import timezone

from tracking import audit, policy, signals
from tracking.audit import Actor
from tracking.engine.rules import RuleAction
from tracking.engine.targets import ANY_COUNTRY, RuleKind, Target
from tracking.engine.text import printable
from tracking.guards import Book, check, check_extension, check_lift, target_of
from tracking.models import AccessRule, AuditEntry
from tracking.proposals import BlockingError, NotBlockedError, Proposal

MOST_AT_ONCE = 1000
Outcome = AccessRule | BlockingError


@dataclass(frozen=True, slots=True)
class Allowance:
    """A rule that allows, the automatic blocks it lifted, and the blocks that still outrank it."""

    rule: AccessRule
    lifted: list[AccessRule]
    shadowing: list[AccessRule]


def block(actor: Actor, proposal: Proposal, now: datetime | None = None) -> AccessRule:
    """Make a rule that blocks. Raises BlockingError, and then nothing is changed."""
    with _book(actor, [proposal.target], now) as (book, version):
        return _add(book, version, proposal)


def block_many(actor: Actor, proposals: Sequence[Proposal]) -> list[Outcome]:
    """Make rules that block (or allow), each for itself: a rule, or why there is none, for each.

    The rules are written together at the end, so that 100,000 of them take seconds.
    """
    with _book(actor, [proposal.target for proposal in proposals]) as (book, version):
        _close_expired(book.now, version)
        outcomes: list[Outcome] = []
        rows: list[AccessRule] = []
        for proposal in proposals:
            outcome = _tried(lambda each=proposal: _checked(book, version, each))  # type: ignore[misc]
            outcomes.append(outcome)
            if isinstance(outcome, AccessRule):
                rows.append(outcome)
                outcome.pk = -len(rows)  # by which the book knows it until it has a number
                book.add([outcome])
        for row in rows:
            row.pk = None
        AccessRule.objects.bulk_create(rows, batch_size=1000)
        audit.record_many([_made(actor, row) for row in rows])
        book.changed += rows
        return outcomes


def allow(actor: Actor, proposal: Proposal) -> Allowance:
    """Make a rule that allows and, when it is for all paths, lift the automatic blocks inside.

    Raises BlockingError, and then nothing is changed.
    """
    with _book(actor, [proposal.target]) as (book, version):
        rule = _add(book, version, proposal)
        network = proposal.target.network
        if network is None or proposal.observed:
            return Allowance(rule, [], [])
        blocks = AccessRule.objects.blocked_ips(book.now).inside(network)
        is_scoped = bool(proposal.path or proposal.methods)
        automatic = [] if is_scoped else list(blocks.filter(origin=AccessRule.Origin.AUTOMATIC))
        for row in automatic:
            _end(book, version, row, f"{rule.target} is allowed.")
        others = blocks.filter(observed=False).order_by("prefix", "pk")[:MOST_AT_ONCE]
        return Allowance(rule, automatic, [row for row in others if _outranks(row, rule)])


def allow_only(actor: Actor, countries: Sequence[Target], reason: str = "") -> list[AccessRule]:
    """Refuse every country but these; none at all: let every country in again.

    Returns the rules that allow, with the one that blocks all others at the end.
    Raises BlockingError, and then nothing is changed.
    """
    anywhere = Target(RuleKind.COUNTRY, ANY_COUNTRY)
    with _book(actor, [*countries, anywhere]) as (book, version):
        wanted = {target.text for target in countries}
        live = AccessRule.objects.live(book.now).filter(kind=RuleKind.COUNTRY)
        plain = live.filter(observed=False, path="", methods="")
        kept = {row.target: row for row in plain.filter(action=RuleAction.ALLOW)}
        for target in countries:
            if target.text not in kept:
                proposal = Proposal(target=target, action=RuleAction.ALLOW, reason=reason)
                kept[target.text] = _add(book, version, proposal)
        others = [row for text, row in kept.items() if text not in wanted]
        allowed = [kept[text] for text in sorted(wanted)]
        everywhere = plain.filter(target=ANY_COUNTRY, action=RuleAction.BLOCK)
        if not countries:
            _lift_safely(book, version, [*others, *everywhere], reason)
            return []
        closing = Proposal(target=anywhere, action=RuleAction.BLOCK, reason=reason)
        rows = [*allowed, everywhere.first() or _add(book, version, closing)]
        for row in rows:
            if row.expires_at is not None:
                _set_end(book, version, row, None, reason)
        _lift_safely(book, version, others, reason)
        return rows


def lift(actor: Actor, target: Target, action: RuleAction, reason: str = "") -> AccessRule:
    """End every rule of this action on exactly this target, and return the newest of them.

    Raises NotBlockedError when there is none, and what check_lift raises.
    """
    with _book(actor, [target]) as (book, version):
        return _lift(book, version, target, action, reason)


def lift_many(
    actor: Actor, targets: Sequence[Target], action: RuleAction, reason: str = ""
) -> list[Outcome]:
    """Do the same for many, each for itself."""
    with _book(actor, targets) as (book, version):
        return [
            _tried(lambda each=each: _lift(book, version, each, action, reason))  # type: ignore[misc]
            for each in targets
        ]


def lift_rules(actor: Actor, numbers: Sequence[int], reason: str = "") -> list[AccessRule]:
    """End rules by their numbers; those that are over already are left alone.

    Raises what check_lift does, and then nothing is changed.
    """
    with _book(actor, []) as (book, version):
        rows = list(AccessRule.objects.live(book.now).filter(pk__in=numbers))
        book.add(rows)
        _lift_safely(book, version, rows, reason)
        return rows


def lift_all(actor: Actor, reason: str = "") -> int:
    """End every rule that blocks anybody (observed ones too); return how many there were.

    This is the way back in when somebody has locked himself out: it knows no guards, and no
    setting can stop it.
    """
    with policy.changing() as version:
        now = timezone.now()
        blocks = AccessRule.objects.live(now).filter(action=RuleAction.BLOCK)
        signals.blocks_changed(signals.address_unblocked, actor, blocks)
        number = blocks.update(ended_at=now, version=version)
        audit.record(actor, "unblock_all", "*", reason=reason, before={"rules": number})
        return number


def extend(actor: Actor, number: int, expires_at: datetime | None, reason: str = "") -> AccessRule:
    """Let a live rule last until another moment (None: until lifted).

    Raises NotBlockedError when it is over, and what a new rule that lasts so long would.
    """
    with policy.changing() as version:
        now = timezone.now()
        row = AccessRule.objects.live(now).filter(pk=number).first()
        if row is None:
            raise NotBlockedError("This rule is over: make it anew.")
        _set_end(Book(actor, [target_of(row)], now), version, row, expires_at, reason)
        return row


def close_expired(now: datetime) -> int:
    """Note the end of rules that have expired, so that processes forget them; return how many."""
    if not AccessRule.objects.filter(ended_at=None, expires_at__lte=now).exists():
        return 0
    with policy.changing() as version:
        return _close_expired(now, version)


@contextmanager
def _book(
    actor: Actor, targets: Sequence[Target], now: datetime | None = None
) -> Iterator[tuple[Book, int]]:
    with policy.changing() as version:
        book = Book(actor, targets, now or timezone.now())
        yield book, version
        ended = [row for row in book.changed if row.ended_at is not None]
        made = [row for row in book.changed if row.ended_at is None]
        signals.blocks_changed(signals.address_blocked, actor, made)
        signals.blocks_changed(signals.address_unblocked, actor, ended)


def _add(book: Book, version: int, proposal: Proposal) -> AccessRule:
    row = _checked(book, version, proposal)
    # One that has expired may stand in the way of its successor.
    _close_expired(book.now, version, target=row.target)
    row.save(force_insert=True)
    book.add([row])
    _made(book.actor, row).save(force_insert=True)
    book.changed.append(row)
    return row


def _checked(book: Book, version: int, proposal: Proposal) -> AccessRule:
    """Return the rule that a proposal makes, not written yet. Raises BlockingError."""
    check(book, proposal)
    network = proposal.target.network
    return AccessRule(
        kind=proposal.target.kind,
        target=proposal.target.text,
        first=str(network[0]) if network is not None else None,
        prefix=network.prefixlen if network is not None else None,
        action=proposal.action,
        observed=proposal.observed,
        path=proposal.path,
        methods=proposal.methods,  # type: ignore[misc] # a column of words takes any
        reason=printable(proposal.reason, 500),
        origin=proposal.origin,
        created_by=printable(book.actor.name, 255),
        created_at=book.now,
        expires_at=proposal.expires_at,
        version=version,
    )


def _made(actor: Actor, row: AccessRule) -> AuditEntry:
    verb = "block" if row.action == RuleAction.BLOCK else "allow"
    return audit.entry(actor, verb, row.target, reason=row.reason, after=audit.facts(row))


def _close_expired(now: datetime, version: int, **which: str) -> int:
    expired = AccessRule.objects.filter(ended_at=None, expires_at__lte=now, **which)
    signals.blocks_changed(signals.block_expired, None, expired)
    return expired.update(ended_at=F("expires_at"), version=version)


def _lift(book: Book, version: int, target: Target, action: RuleAction, reason: str) -> AccessRule:
    covering = [row for row in book.covering(target) if row.action == action]
    rows = [row for row in covering if row.target == target.text and row.is_live(book.now)]
    if not rows:
        word = "blocked" if action is RuleAction.BLOCK else "allowed"
        wider = next((row for row in covering if not row.observed and row.is_live(book.now)), None)
        by = f" by itself, but by {wider.target}" if wider is not None else ""
        raise NotBlockedError(f"{target.text} is not {word}{by}.", wider)
    _lift_safely(book, version, rows, reason)
    return max(rows, key=lambda row: row.pk)


def _lift_safely(book: Book, version: int, rows: Sequence[AccessRule], reason: str) -> None:
    check_lift(book, rows)
    for row in rows:
        _end(book, version, row, reason)


def _end(book: Book, version: int, row: AccessRule, reason: str) -> None:
    before = audit.facts(row)
    row.ended_at, row.version = book.now, version
    row.save(update_fields=["ended_at", "version"])
    verb = "unblock" if row.action == RuleAction.BLOCK else "disallow"
    audit.record(book.actor, verb, row.target, reason=reason, before=before)
    book.changed.append(row)


def _set_end(
    book: Book, version: int, row: AccessRule, expires_at: datetime | None, reason: str
) -> None:
    check_extension(book, row, expires_at)
    before = audit.facts(row)
    row.expires_at, row.version = expires_at, version
    row.save(update_fields=["expires_at", "version"])
    book.add([row])
    audit.record(
        book.actor, "extend_rule", row.target, reason=reason, before=before, after=audit.facts(row)
    )


def _outranks(row: AccessRule, rule: AccessRule) -> bool:
    """Tell whether a block inside the target of a rule that allows goes on refusing."""
    return (row.prefix or 0) > (rule.prefix or 0) or bool(row.path or row.methods)


def _tried(verb: Callable[[], AccessRule]) -> Outcome:
    try:
        return verb()
    except BlockingError as error:
        return error
