"""How the book of rules is changed: what all mutations on rules take, do and answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.budget import budget_of
from schema.errors import UserError
from schema.guards import not_allowed, user_error
from schema.keyset import stated
from schema.permissions import actor, require
from schema.rules import LARGEST_INT, AccessRule
from schema.scalars import CountryCode
from tracking import blastradius, blocklist
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target
from tracking.proposals import BlockingError, NotBlockedError, Proposal

ADD = "tracking.add_accessrule"
CHANGE = "tracking.change_accessrule"
READ = "tracking.view_requestlog"
DAYS = blastradius.DAYS


@strawberry.input
class RuleInput:
    duration: timedelta | None = strawberry.field(
        default=strawberry.UNSET,
        description="How long the rule holds, at most ten years; without one until it is lifted.",
    )
    reason: str = strawberry.field(
        default="", description="Why, for the rule and the audit log; cut at 500 characters."
    )
    path: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only paths that begin so are meant, as they are routed (decoded), such as"
        " /admin/; without one every path.",
    )
    methods: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only these HTTP methods are meant, where GET includes HEAD; without any, all.",
    )
    force: bool = strawberry.field(
        default=False,
        description="Do it although the target is wider than /8, or /32 of IPv6. For superusers.",
    )


@strawberry.input
class RefusalInput(RuleInput):
    observed: bool = strawberry.field(
        default=False, description="Refuse nothing, and only record what would be refused."
    )


@strawberry.input
class BlockInput(RefusalInput):
    dry_run: bool = strawberry.field(
        default=False,
        description="Change nothing: answer what would be wrong, and whom the rule would have hit"
        f" in the last {DAYS} days. Needs the permission {READ} besides.",
    )


@strawberry.type(description="How many requests there were from a country.")
class CountryCount:
    country: CountryCode | None = strawberry.field(description="The country; null for unknown.")
    requests: int = strawberry.field(description="How many requests.")


@strawberry.type(
    description=f"What a rule would have refused in the last {DAYS} days, of what was not refused"
    " anyway and is not let in or refused by a more specific rule of today. Numbers end at"
    " 2147483647."
)
class BlastRadius:
    days: int = strawberry.field(description="How many days of the record were asked for.")
    since: datetime = strawberry.field(
        description="From when on all requests are counted: that many days ago, or later where"
        " there was no time for more."
    )
    complete: bool = strawberry.field(
        description="False where there was no time for all days: then the numbers are the least"
        " they can be."
    )
    requests: int = strawberry.field(description="How many requests.")
    addresses: int = strawberry.field(description="From how many addresses they came.")
    user_count: int = strawberry.field(description="How many signed-in users made some of them.")
    users: list[str] = strawberry.field(
        description=f"Who they are, at most {blastradius.MOST_USERS}; the most frequent first."
    )
    countries: list[CountryCount] = strawberry.field(
        description="From which countries they came, the most frequent first."
    )


@strawberry.type
class BlockPayload:
    rule: AccessRule | None = strawberry.field(
        default=None, description="The rule; null when there are errors, and for a dry run."
    )
    blast_radius: BlastRadius | None = strawberry.field(
        default=None, description="Whom the rule would have hit; null but for a dry run."
    )
    errors: list[UserError] = strawberry.field(description="Why there is no rule, or would be.")


@strawberry.type
class LiftPayload:
    rule: AccessRule | None = strawberry.field(
        default=None,
        description="The rule that was lifted, the newest where there were several; null when there"
        " are errors.",
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was lifted.")


Blocked = TypeVar("Blocked", bound=BlockPayload)
Lifted = TypeVar("Lifted", bound=LiftPayload)


def proposed(asked: RuleInput, target: Target, action: RuleAction) -> Proposal:
    """Return the rule that an input asks for."""
    duration = stated(asked.duration)
    return Proposal(
        target=target,
        action=action,
        expires_at=None if duration is None else timezone.now() + duration,
        reason=asked.reason,
        observed=isinstance(asked, RefusalInput) and asked.observed,
        path=stated(asked.path) or "",
        methods=tuple(stated(asked.methods) or ()),
        force=asked.force,
    )


def blocked(
    info: Info, asked: BlockInput, target: Target, argument: str, payload: type[Blocked]
) -> Blocked:
    """Block a target as an input asks, or only say what that would do.

    `argument` names the target in the input. Raises Refusal without the permissions.
    """
    require(info, ADD)
    proposal = proposed(asked, target, RuleAction.BLOCK)
    path = ["input", argument]
    if asked.dry_run:
        require(info, READ)
        error = blastradius.rehearse(actor(info), proposal)
        return payload(
            blast_radius=_radius(info, proposal),
            errors=[] if error is None else [user_error(info, error, path, proposal)],
        )
    try:
        rule = blocklist.block(actor(info), proposal)
    except BlockingError as error:
        return payload(errors=[user_error(info, error, path, proposal)])
    return payload(rule=AccessRule.of(rule), errors=[])


def allowed(
    info: Info, asked: RuleInput, target: Target, argument: str
) -> blocklist.Allowance | UserError:
    """Let a target in as an input asks, or return why not. Raises Refusal."""
    require(info, ADD)
    try:
        return blocklist.allow(actor(info), proposed(asked, target, RuleAction.ALLOW))
    except BlockingError as error:
        return user_error(info, error, ["input", argument])


def lifted(
    info: Info,
    target: Target,
    action: RuleAction,
    reason: str,
    argument: str,
    payload: type[Lifted],
) -> Lifted:
    """Lift the rules of this action on exactly this target. Raises Refusal."""
    require(info, CHANGE)
    try:
        rule = blocklist.lift(actor(info), target, action, reason)
    except BlockingError as error:
        return payload(errors=[lift_error(info, error, action, ["input", argument])])
    return payload(rule=AccessRule.of(rule), errors=[])


def lift_error(info: Info, error: BlockingError, action: RuleAction, path: list[str]) -> UserError:
    """Return why a rule was not lifted."""
    if action is RuleAction.ALLOW and isinstance(error, NotBlockedError):
        return not_allowed(error, path)
    return user_error(info, error, path)


def _radius(info: Info, proposal: Proposal) -> BlastRadius:
    found = blastradius.of(proposal, budget_of(info))
    return BlastRadius(
        days=DAYS,
        since=found.since,
        complete=found.complete,
        requests=min(found.requests, LARGEST_INT),
        addresses=min(found.addresses, LARGEST_INT),
        user_count=min(found.user_count, LARGEST_INT),
        users=list(found.users),
        countries=[
            CountryCount(
                country=None if code is None else CountryCode(code),
                requests=min(number, LARGEST_INT),
            )
            for code, number in found.countries
        ],
    )
