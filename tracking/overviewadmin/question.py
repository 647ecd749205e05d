"""What the overview can be asked in its URL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from tracking.overview import Overview, Period
from tracking.overviewadmin.links import as_typed

MINUTE = timedelta(minutes=1)
_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
_WRONG_TIME = "Write a time between 1971 and 2999, such as 2026-11-22T18:00."


class Question(forms.Form):
    """A period, and the moment in its last bucket; what is left out is a day, and now."""

    period = forms.ChoiceField(
        required=False,
        choices=[(each.value, each.value) for each in Period],
        error_messages={"invalid_choice": "Choose hour, day or week."},
    )
    at = forms.DateTimeField(
        required=False,
        # Far years overflow on their way to UTC.
        validators=[
            MinValueValidator(_EARLIEST, _WRONG_TIME),
            MaxValueValidator(_LATEST, _WRONG_TIME),
        ],
        error_messages={"invalid": _WRONG_TIME},
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """The period to show, and the moment in its last bucket where that is not now."""

    period: Period = Period.DAY
    at: datetime | None = None

    @classmethod
    def read(cls, question: Question) -> Asked:
        """Return what is asked; what is wrong with the question is left out, and stands on it."""
        told: dict[str, Any] = question.cleaned_data if question.is_valid() else {}
        if not told:
            return cls()
        at = told["at"] and told["at"].astimezone(UTC)
        return cls(Period(told["period"] or Period.DAY), at)

    def url(self) -> str:
        """Return the way to this on the page."""
        at = {} if self.at is None else {"at": as_typed(self.at)}
        return "?" + urlencode({"period": self.period.value} | at)

    def over(self, period: Period) -> Asked:
        return replace(self, period=period)

    def before(self, found: Overview) -> Asked:
        """Return the same period, so that it ends where this one begins."""
        return replace(self, at=found.start - MINUTE)

    def after(self, found: Overview, now: datetime) -> Asked | None:
        """Return the same period, so that it begins where this one ends; None when that is now."""
        if self.at is None:
            return None
        last = found.end + (found.end - found.start) - MINUTE
        return replace(self, at=last if last < now else None)
