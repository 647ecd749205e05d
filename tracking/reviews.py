"""What people make of suspicions, and of the blocks that detectors suggest."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from tracking import audit, blocklist, conf
from tracking.audit import Actor
from tracking.engine.address import parse_network
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.engine.text import printable
from tracking.models import WATERMARK, AccessRule, Counter, SuspiciousIP
from tracking.proposals import AlreadyBlockedError, Proposal, UnfitError
from tracking.suspicions import SETTLED, Status


class ReviewError(ValueError):
    """A suspicion cannot be reviewed like this; the message says why."""


class NothingSuggestedError(ReviewError):
    """No block waits for a decision."""


def review(
    actor: Actor,
    number: int,
    status: str,
    note: str | None = None,
    block_for: timedelta | None = None,
) -> SuspiciousIP:
    """Write down what a person thinks of a suspicion.

    `block_for` blocks its target for that time from now, or lets the automatic block that there is
    already last so long. FALSE_POSITIVE and IGNORED lift the block that the suspicion led to, and
    keep its detector from acting on this target again. A suggestion waits until the suspicion is
    not OPEN any more, or its target is blocked.
    Raises SuspiciousIP.DoesNotExist, ReviewError, and BlockingError; then nothing is changed.
    """
    with transaction.atomic():
        row = _locked(number)
        before = {"status": row.status, "note": row.note}
        if block_for is not None and status in SETTLED:
            raise ReviewError("What is false or does not matter is not to be blocked.")
        if status == Status.OPEN and _another_open(row):
            raise ReviewError("There is a newer open suspicion of this target: review that one.")
        row.status, row.reviewed_by = status, printable(actor.name, 255)
        row.reviewed_at = timezone.now()
        row.is_suggested = row.is_suggested and status == Status.OPEN and block_for is None
        row.note = row.note if note is None else printable(note, 1000)
        if block_for is not None:
            row.rule = _block_by_hand(actor, row, block_for)
        elif status in SETTLED and row.rule is not None:
            blocklist.lift_rules(actor, [row.rule.pk], f"{row.detector}: {status}")
        row.save()
        after = {"status": row.status, "note": row.note, "rule": row.rule_id}
        audit.record(actor, "review", f"{row.detector} {row.target}", before=before, after=after)
        return row


def approve(
    actor: Actor, number: int, block_for: timedelta | None = None, note: str | None = None
) -> SuspiciousIP:
    """Confirm a suspicion and block its target, for the suggested time where none is given.

    Raises what `review` does, and NothingSuggestedError.
    """
    with transaction.atomic():
        suggested = _suggestion(number).duration or conf.current().block_durations[0]
        return review(actor, number, Status.CONFIRMED, note, block_for or suggested)


def dismiss(actor: Actor, number: int, status: str, note: str | None = None) -> SuspiciousIP:
    """Decide against a suggested block: `status` is FALSE_POSITIVE or IGNORED.

    Raises what `review` does, and NothingSuggestedError.
    """
    if status not in SETTLED:
        raise ReviewError("A suggestion is dismissed as FALSE_POSITIVE or IGNORED.")
    with transaction.atomic():
        _suggestion(number)
        return review(actor, number, status, note)


def _locked(number: int) -> SuspiciousIP:
    """Return a suspicion, locked after what a run locks first, so that none waits in a circle."""
    Counter.objects.select_for_update().filter(name=WATERMARK).first()
    return SuspiciousIP.objects.select_for_update().get(pk=number)


def _suggestion(number: int) -> SuspiciousIP:
    """Return a suspicion whose block waits for a person. Raises NothingSuggestedError."""
    row = _locked(number)
    if not row.is_suggested:
        raise NothingSuggestedError("No block of this target waits for a decision (any more).")
    return row


def _block_by_hand(actor: Actor, row: SuspiciousIP, block_for: timedelta) -> AccessRule:
    try:
        expires_at = timezone.now() + block_for
    except OverflowError:
        raise UnfitError("duration", "Write a shorter time.") from None
    proposal = Proposal(
        target=target_of_network(parse_network(row.target)),
        action=RuleAction.BLOCK,
        expires_at=expires_at,
        reason=f"{row.detector}: {row.reason}",
    )
    try:
        return blocklist.block(actor, proposal)
    except AlreadyBlockedError as error:
        held = error.rule
        if held.target != row.target or held.expires_at is None or held.expires_at >= expires_at:
            raise
        return blocklist.extend(actor, held.pk, expires_at, proposal.reason)


def _another_open(row: SuspiciousIP) -> bool:
    same = SuspiciousIP.objects.filter(target=row.target, detector=row.detector)
    return same.filter(status=Status.OPEN).exclude(pk=row.pk).exists()
