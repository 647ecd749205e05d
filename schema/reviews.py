"""Reviewing suspicions: what people make of them, and whether their targets are blocked."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TypeVar

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.changes import ADD, CHANGE
from schema.errors import ErrorCode, InputError, UserError
from schema.guards import user_error
from schema.ids import read_id_of
from schema.keyset import stated
from schema.permissions import actor, require
from schema.rules import AccessRule
from schema.suspicions import ReviewStatus, SuspiciousIP
from tracking import reviews
from tracking.models import AccessRule as RuleRow
from tracking.models import SuspiciousIP as Row
from tracking.proposals import BlockingError, UnfitError
from tracking.reviews import NothingSuggestedError, ReviewError

REVIEW = "tracking.change_suspiciousip"
NOTE = "What to remember about it; cut at 1000 characters. Left out or null: the note stays."
AS_LIFTS = (
    f" What is found false or ignored lifts the automatic block it led to; the permission {CHANGE}"
    " is needed besides where a person has made that block."
)


@strawberry.enum(description="Why a suggested block is not made.")
class Dismissal(enum.Enum):
    FALSE_POSITIVE = strawberry.enum_value(
        ReviewStatus.FALSE_POSITIVE.value, description="The suspicion is wrong."
    )
    IGNORED = strawberry.enum_value(
        ReviewStatus.IGNORED.value, description="The suspicion does not matter."
    )


@strawberry.input(description="What to make of a suspicion.")
class ReviewSuspiciousIpInput:
    id: strawberry.ID = strawberry.field(description="The id of the suspicion.")
    status: ReviewStatus = strawberry.field(description="What it is.")
    note: str | None = strawberry.field(default=strawberry.UNSET, description=NOTE)
    block: timedelta | None = strawberry.field(
        default=strawberry.UNSET,
        description="Block its target from now on for so long, at most ten years; a block that it"
        " led to already lasts so long then. Not for what is false or ignored.",
    )


@strawberry.input(description="Which suggested block to make.")
class ApproveSuggestionInput:
    id: strawberry.ID = strawberry.field(description="The id of the suspicion.")
    duration: timedelta | None = strawberry.field(
        default=strawberry.UNSET,
        description="For how long, at most ten years; left out or null: as long as suggested.",
    )
    note: str | None = strawberry.field(default=strawberry.UNSET, description=NOTE)


@strawberry.input(description="Which suggested block not to make.")
class DismissSuggestionInput:
    id: strawberry.ID = strawberry.field(description="The id of the suspicion.")
    status: Dismissal = strawberry.field(description="Why not.")
    note: str | None = strawberry.field(default=strawberry.UNSET, description=NOTE)


@strawberry.type
class ReviewPayload:
    suspicious_ip: SuspiciousIP | None = strawberry.field(
        default=None, description="The suspicion as it is now; null when there are errors."
    )
    rule: AccessRule | None = strawberry.field(
        default=None,
        description="The block that the suspicion led to last, as it is now, which may be over;"
        " null where it led to none, and when there are errors.",
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was changed.")


@strawberry.type(description="What became of reviewSuspiciousIp.")
class ReviewSuspiciousIpPayload(ReviewPayload):
    pass


@strawberry.type(description="What became of approveSuggestion.")
class ApproveSuggestionPayload(ReviewPayload):
    pass


@strawberry.type(description="What became of dismissSuggestion.")
class DismissSuggestionPayload(ReviewPayload):
    pass


Payload = TypeVar("Payload", bound=ReviewPayload)


@strawberry.type
class ReviewMutations:
    @strawberry.mutation(
        description="Write down what you make of a suspicion, and block its target if you like."
        f" Needs the permission {REVIEW}, and {ADD} besides where it blocks.{AS_LIFTS}"
    )
    def review_suspicious_ip(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ReviewSuspiciousIpInput, strawberry.argument(description="What to make of which.")
        ],
    ) -> ReviewSuspiciousIpPayload | None:
        block = stated(input.block)
        pk = _permitted(info, input.id, input.status.name, blocks=block is not None)
        return _reviewed(
            info,
            ReviewSuspiciousIpPayload,
            "block",
            lambda: reviews.review(actor(info), pk, input.status.name, stated(input.note), block),
        )

    @strawberry.mutation(
        description="Make the block that a detector suggests: the suspicion is confirmed. Needs the"
        f" permissions {REVIEW} and {ADD}."
    )
    def approve_suggestion(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ApproveSuggestionInput, strawberry.argument(description="Which block to make.")
        ],
    ) -> ApproveSuggestionPayload | None:
        pk = _permitted(info, input.id, ReviewStatus.CONFIRMED.name, blocks=True)
        return _reviewed(
            info,
            ApproveSuggestionPayload,
            "duration",
            lambda: reviews.approve(actor(info), pk, stated(input.duration), stated(input.note)),
        )

    @strawberry.mutation(
        description="Decide against the block that a detector suggests. Needs the permission"
        f" {REVIEW}.{AS_LIFTS}"
    )
    def dismiss_suggestion(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            DismissSuggestionInput, strawberry.argument(description="Which block not to make.")
        ],
    ) -> DismissSuggestionPayload | None:
        pk = _permitted(info, input.id, input.status.name, blocks=False)
        return _reviewed(
            info,
            DismissSuggestionPayload,
            "status",
            lambda: reviews.dismiss(actor(info), pk, input.status.name, stated(input.note)),
        )


def _permitted(info: Info, text: str, status: str, *, blocks: bool) -> int:
    """Return the primary key in an id; raises Refusal for what the caller may not."""
    require(info, REVIEW)
    if blocks:
        require(info, ADD)
    pk = read_id_of("SuspiciousIP", text)
    settles = status in Dismissal.__members__
    manual = RuleRow.objects.live(timezone.now()).exclude(origin=RuleRow.Origin.AUTOMATIC)
    if settles and manual.filter(suspiciousip=pk).exists():
        require(info, CHANGE)
    return pk


def _reviewed(
    info: Info, payload: type[Payload], argument: str, verb: Callable[[], Row]
) -> Payload:
    """Return what became of a review; `argument` says in the input how long a block lasts."""
    try:
        row = verb()
    except Row.DoesNotExist:
        message = "There is no such suspicion (any more)."
        return payload(errors=[_wrong(ErrorCode.NOT_FOUND, message, "id")])
    except NothingSuggestedError as error:
        return payload(errors=[_wrong(ErrorCode.INVALID_INPUT, str(error), "id")])
    except ReviewError as error:
        return payload(errors=[_wrong(ErrorCode.INVALID_INPUT, str(error), "status")])
    except UnfitError as error:
        return payload(errors=[_wrong(ErrorCode.INVALID_INPUT, str(error), argument)])
    except BlockingError as error:
        return payload(errors=[user_error(info, error, ["input", "id"])])
    (node,) = SuspiciousIP.page([row])
    rule = None if row.rule_id is None else RuleRow.objects.get(pk=row.rule_id)
    return payload(
        suspicious_ip=node, rule=None if rule is None else AccessRule.of(rule), errors=[]
    )


def _wrong(code: ErrorCode, message: str, argument: str) -> InputError:
    return InputError(code=code, message=message, path=["input", argument])
