"""The forms of the admin's pages on rules: make one, change some, read a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from tracking.engine.address import AddressError
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import FOREVER, read_duration, read_target
from tracking.engine.targets import RuleKind, Target, TargetError
from tracking.proposals import Proposal

MOST_UPLOADED = 1024 * 1024  # bytes; more takes longer than a person waits

_DURATIONS = (
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    (FOREVER, "Until lifted"),
    ("", "Other:"),
)


class DurationField(forms.MultiValueField):
    """One of the usual times, or another as text; the value is the moment of its end, or None."""

    def __init__(self, **kwargs: Any) -> None:
        usual = forms.ChoiceField(choices=_DURATIONS, required=False)
        fields = (usual, forms.CharField(required=False))
        super().__init__(fields, widget=_DurationWidget(), require_all_fields=False, **kwargs)

    def compress(self, data_list: list[str]) -> datetime | None:
        usual, other = data_list or ("", "")
        try:
            duration = read_duration(other or usual)
            return None if duration is None else timezone.now() + duration
        except OverflowError:
            raise forms.ValidationError("Write a shorter time.") from None
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from None


class _DurationWidget(forms.MultiWidget):
    def __init__(self) -> None:
        other = forms.TextInput(
            attrs={"placeholder": "15m, 4h, 7d", "aria-label": "Other duration"}
        )
        super().__init__((forms.Select(choices=_DURATIONS), other))

    def decompress(self, value: str | None) -> list[str]:
        return [value or "", ""]


class RuleForm(forms.Form):
    """A rule to make. `force` is there for superusers only."""

    target = forms.CharField(max_length=64)
    duration = DurationField(initial="24h")
    reason = forms.CharField(required=False, max_length=500, help_text="For your colleagues.")
    observed = forms.BooleanField(
        required=False,
        label="Only observe",
        help_text="Refuse nothing; put on record what would be refused.",
    )
    path = forms.CharField(
        required=False,
        max_length=255,
        label="Only paths that begin with",
        help_text="Such as /shop/. Empty: every path.",
    )
    methods = forms.CharField(
        required=False,
        max_length=100,
        label="Only methods",
        help_text="Such as POST PUT. Empty: all.",
    )
    force = forms.BooleanField(
        required=False,
        label="Force",
        help_text="Even if the target is wider than /8 (/32 of IPv6) or means every country.",
    )

    def __init__(
        self,
        *args: Any,
        action: RuleAction,
        kinds: Sequence[RuleKind],
        about: str,
        forcible: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.action, self.kinds, self.about = action, kinds, about
        self.fields["target"].help_text = about
        if action is RuleAction.ALLOW:
            self.initial.setdefault("duration", FOREVER)
        if not forcible:
            del self.fields["force"]

    def clean_target(self) -> Target:
        try:
            target = read_target(self.cleaned_data["target"])
        except (AddressError, TargetError) as error:
            raise forms.ValidationError(f"{error}.") from None
        if target.kind not in self.kinds:
            raise forms.ValidationError(f"{target.text} is for another list. Here: {self.about}")
        return target

    def proposal(self) -> Proposal:
        told = self.cleaned_data
        return Proposal(
            target=told["target"],
            action=self.action,
            expires_at=told["duration"],
            reason=told["reason"],
            observed=told["observed"],
            path=told["path"],
            methods=tuple(told["methods"].replace(",", " ").split()),
            force=told.get("force", False),
        )


class ReasonForm(forms.Form):
    """Why rules are lifted."""

    reason = forms.CharField(required=False, max_length=500, help_text="For the audit log.")


class LongerForm(ReasonForm):
    """Why and until when rules last."""

    duration = DurationField(initial="24h", help_text="From now on.")
    field_order = ("duration", "reason")


class ImportForm(forms.Form):
    """A file of rules."""

    file = forms.FileField(
        help_text="CSV as it is exported, JSON, or a list with one target on each line."
    )
    duration = DurationField(initial=FOREVER, help_text="Of lines that name no end.")
    reason = forms.CharField(
        required=False, max_length=500, help_text="Of lines that give no reason."
    )
    strict = forms.BooleanField(
        required=False, label="All or nothing", help_text="One bad line: change nothing."
    )
    dry_run = forms.BooleanField(
        required=False, label="Only try", help_text="Change nothing, only tell what would be."
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MOST_UPLOADED:
            raise forms.ValidationError(
                "The file is larger than 1 MiB: use manage.py import_rules."
            )
        return file
