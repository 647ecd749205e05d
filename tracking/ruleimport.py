"""Bring rules from a file into the book: each line for itself, or all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from django.db import transaction

from tracking import blocklist
from tracking.audit import Actor
from tracking.models import AccessRule
from tracking.proposals import AlreadyAllowedError, AlreadyBlockedError
from tracking.rulefiles import Entry

# Each batch reads the whole book anew; while it is written nobody else can write to SQLite.
BATCH = 20_000


@dataclass(slots=True)
class Report:
    """What became of a file: how many rules it made, how many were there, and which lines are bad.

    A bad line is its number from 1 and what is wrong with it. `applied` is False when nothing was
    changed, because that was asked for or because a strict import met a bad line.
    """

    made: int = 0
    known: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    applied: bool = True


def bring_in(
    actor: Actor, entries: Iterable[Entry], *, strict: bool = False, dry_run: bool = False
) -> Report:
    """Make the rules that a file proposes, under the same guards as any others.

    With `strict` one bad line means that nothing is changed; with `dry_run` nothing ever is. Both
    lock the book for as long as the file takes. Raises FileError.
    """
    report = Report()
    if not (strict or dry_run):
        _apply(actor, iter(entries), report)
        return report
    with transaction.atomic():
        _apply(actor, iter(entries), report)
        if dry_run or report.bad:
            report.applied = False
            transaction.set_rollback(True)
    return report


def _apply(actor: Actor, entries: Iterator[Entry], report: Report) -> None:
    while batch := list(islice(entries, BATCH)):
        good = [entry for entry in batch if entry.proposal is not None]
        report.bad += [(entry.number, entry.problem) for entry in batch if entry.proposal is None]
        proposals = [entry.proposal for entry in good if entry.proposal is not None]
        outcomes = blocklist.block_many(actor, proposals) if proposals else []
        for entry, outcome in zip(good, outcomes, strict=True):
            if isinstance(outcome, AccessRule):
                report.made += 1
            elif isinstance(outcome, AlreadyBlockedError | AlreadyAllowedError):
                report.known += 1
            else:
                report.bad.append((entry.number, str(outcome)))
    report.bad.sort()
