"""What can be done to suspicions in the admin, and what is asked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone

from tracking import conf, reviews
from tracking.audit import Actor
from tracking.engine.ruletext import read_duration
from tracking.models import AccessRule, SuspiciousIP

Status = SuspiciousIP.Status

REVIEW = "tracking.change_suspiciousip"
BLOCK = "tracking.add_accessrule"
LIFT = "tracking.change_accessrule"


class ReviewForm(forms.Form):
    """What to remember of a review."""

    note = forms.CharField(
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For your colleagues. Empty: the note stays.",
    )


class ApproveForm(ReviewForm):
    """How long the target is blocked, where a time is suggested."""

    duration = forms.CharField(
        required=False, max_length=20, help_text="15m, 4h, 7d. Empty: as long as is suggested."
    )
    field_order = ("duration", "note")

    def clean_duration(self) -> timedelta | None:
        text = self.cleaned_data["duration"]
        try:
            duration = read_duration(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from None
        if text and duration is None:
            raise forms.ValidationError("A block of a suspicion ends: write a time like 4h.")
        return duration


class BlockForm(ApproveForm):
    """The same where no time is suggested."""

    duration = forms.CharField(
        required=False,
        max_length=20,
        help_text="15m, 4h, 7d. Empty: as long as a first offence is blocked for.",
    )


Deed = Callable[[Actor, int, Mapping[str, Any]], SuspiciousIP]


@dataclass(frozen=True, slots=True)
class Verb:
    """Something to do to suspicions: its name, what is asked before, and what does it."""

    words: str
    does: Deed
    fits: Callable[[SuspiciousIP], bool]
    form: type[ReviewForm] = ReviewForm
    needs: tuple[str, ...] = (REVIEW,)
    lifts: bool = False


def _approve(actor: Actor, number: int, told: Mapping[str, Any]) -> SuspiciousIP:
    return reviews.approve(actor, number, told["duration"], told["note"] or None)


def _block(actor: Actor, number: int, told: Mapping[str, Any]) -> SuspiciousIP:
    block_for = told["duration"] or conf.current().block_durations[0]
    return reviews.review(actor, number, Status.CONFIRMED, told["note"] or None, block_for)


def _may_be_blocked(row: SuspiciousIP) -> bool:
    is_judged = row.status in {Status.FALSE_POSITIVE, Status.IGNORED}
    is_blocked = row.rule is not None and row.rule.is_live(timezone.now())
    return not (row.is_suggested or is_judged or is_blocked)


def _becomes(words: str, status: Status, *, lifts: bool = False) -> Verb:
    def review(actor: Actor, number: int, told: Mapping[str, Any]) -> SuspiciousIP:
        return reviews.review(actor, number, status, told["note"] or None)

    return Verb(words, review, lambda row: row.status != status, lifts=lifts)


VERBS: dict[str, Verb] = {
    "approve": Verb(
        "Approve suggestion", _approve, lambda row: row.is_suggested, ApproveForm, (REVIEW, BLOCK)
    ),
    "block": Verb("Confirm and block", _block, _may_be_blocked, BlockForm, (REVIEW, BLOCK)),
    "confirm": _becomes("Confirm", Status.CONFIRMED),
    "false_positive": _becomes("False positive", Status.FALSE_POSITIVE, lifts=True),
    "ignore": _becomes("Ignore", Status.IGNORED, lifts=True),
    "reopen": _becomes("Reopen", Status.OPEN),
}


def may(request: HttpRequest, verb: Verb) -> bool:
    return bool(request.user.has_perms(verb.needs))


def may_not_lift(request: HttpRequest, verb: Verb, row: SuspiciousIP) -> bool:
    """Tell whether this would end a block that a person made, and who asks may not."""
    rule = row.rule
    if not verb.lifts or rule is None or not rule.is_live(timezone.now()):
        return False
    return rule.origin != AccessRule.Origin.AUTOMATIC and not request.user.has_perm(LIFT)
