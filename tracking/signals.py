"""What others may want to know of as it happens: Django signals, sent when it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.db.models import Model, QuerySet
from django.dispatch import Signal

from tracking.engine.rules import RuleAction
from tracking.models import AccessRule

MOST_NAMED = 20  # rules that one signal names; it counts all of them

# A row of tracking.models.SuspiciousIP is new: `suspicion`.
suspicion_raised = Signal()
# Blocks have come into the book, were lifted, or have run out: `count`, `rules` (some of them,
# tracking.models.AccessRule), `actor` (None: time). Rules that only observe block nobody.
address_blocked = Signal()
address_unblocked = Signal()
block_expired = Signal()
# A detector wants somebody to decide about a block: `suspicion`, and `because`.
block_suggested = Signal()
# Sent before the others, in the transaction of the change, for who writes to the same database:
# `told`, the signal that will be sent, with what that one is sent.
committing = Signal()
# Somebody's data are gathered: `subject` (tracking.datasubject.DataSubject). A receiver returns
# what it has in other apps: rows, as mappings, by the name of their table.
data_asked = Signal()
# They are to be erased: `subject`, and `dry_run`, if they are only counted. A receiver takes them
# out and returns for each table its name, what became of its rows, how many, and why they stay.
data_erased = Signal()
# One client has sent so much that detection should not wait longer than `delay` seconds: `key`.
threshold_crossed = Signal()
# Alerts have been written that wait to be delivered.
alerts_waiting = Signal()


def announce(told: Signal, sender: type[Model], **facts: object) -> None:
    """Tell of a change of this transaction: at once who writes with it, at its end all others."""
    committing.send_robust(sender, told=told, **facts)
    transaction.on_commit(partial(told.send_robust, sender, **facts), robust=True)


def blocks_changed(
    told: Signal, actor: object, rules: Sequence[AccessRule] | QuerySet[AccessRule]
) -> None:
    """Announce the enforced blocks among rules, all of them together, if there are any."""
    if isinstance(rules, QuerySet):
        blocks = rules.filter(action=RuleAction.BLOCK, observed=False)
        named = list(blocks[:MOST_NAMED])
        count = blocks.count() if len(named) == MOST_NAMED else len(named)
    else:
        named = [rule for rule in rules if rule.action == RuleAction.BLOCK and not rule.observed]
        count = len(named)
    if named:
        announce(told, AccessRule, rules=named[:MOST_NAMED], count=count, actor=actor)
