"""What can be done to rules that were chosen from a list; each step answers for every rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracking import blocklist
from tracking.audit import Actor
from tracking.blocklist import Outcome
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.models import AccessRule
from tracking.proposals import BlockingError, Proposal

Step = Callable[[Actor, Sequence[AccessRule], Mapping[str, Any]], list[Outcome]]


def lift(actor: Actor, rows: Sequence[AccessRule], told: Mapping[str, Any]) -> list[Outcome]:
    """End rules, all of them or none."""
    try:
        return [*blocklist.lift_rules(actor, [row.pk for row in rows], told["reason"])]
    except BlockingError as error:
        return [error]


def extend(actor: Actor, rows: Sequence[AccessRule], told: Mapping[str, Any]) -> list[Outcome]:
    """Let rules last until another moment, each for itself."""
    outcomes: list[Outcome] = []
    for row in rows:
        try:
            outcomes.append(blocklist.extend(actor, row.pk, told["duration"], told["reason"]))
        except BlockingError as error:
            outcomes.append(error)
    return outcomes


def again(actor: Actor, rows: Sequence[AccessRule], told: Mapping[str, Any]) -> list[Outcome]:
    """Make rules anew that are over, each for itself."""
    return blocklist.block_many(actor, [_anew(row, told) for row in rows])


def _anew(row: AccessRule, told: Mapping[str, Any]) -> Proposal:
    return Proposal(
        target=read_target(row.target),
        action=RuleAction(row.action),
        expires_at=told["duration"],
        reason=told["reason"] or row.reason,
        observed=row.observed,
        path=row.path,
        methods=row.methods,
    )


STEPS: dict[str, Step] = {"lift": lift, "extend": extend, "again": again}
