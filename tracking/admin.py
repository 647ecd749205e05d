"""The logs in Django's admin: only to look at.

A log has millions of rows: nothing here counts or sorts. Pages of requests, which can be searched,
come from tracking.logpage; the other lists go from the newest row back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import lazy
from django.utils.timezone import get_current_timezone_name, localtime

from tracking.conf import current
from tracking.deliveryadmin import DeliveryAdmin
from tracking.engine.address import AddressError, IPNetwork, parse_network
from tracking.engine.verdict import VerdictKind
from tracking.logexport import Exported
from tracking.logpage import PAGE, REFUSED, Asked, Page, Position, find, page
from tracking.models import (
    AllowedTarget,
    AuditEntry,
    BlockedIP,
    BlockedPlace,
    Delivery,
    DetectionRun,
    LoginAttempt,
    RequestLog,
    SuspiciousIP,
)
from tracking.overviewadmin import OverviewPage
from tracking.ruleadmin import AllowedTargetAdmin, BlockedIPAdmin, BlockedPlaceAdmin
from tracking.suspicionadmin import DetectionRunAdmin, SuspiciousIPAdmin
from tracking.timebudget import OutOfTime, TimeBudget

_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
_LONGEST_CELL = 80


class Question(forms.Form):
    """What to look for; what is left empty does not matter."""

    since = forms.DateTimeField(required=False, label="From")
    until = forms.DateTimeField(required=False, label="Until (not included)")
    network = forms.CharField(required=False, label="Address or network")
    country = forms.CharField(
        required=False,
        label="Country",
        validators=[RegexValidator(r"\A[A-Za-z]{2}\Z", "Write its two letters, such as DE.")],
    )
    status_class = forms.TypedChoiceField(
        required=False,
        label="Status",
        coerce=int,
        empty_value=None,
        choices=[("", "Any"), *((n, f"{n}xx") for n in range(1, 6))],
    )
    verdict = forms.ChoiceField(
        required=False,
        label="Verdict",
        choices=[
            ("", "Any"),
            (REFUSED, "Any but ALLOWED"),
            *((kind.value, kind.value) for kind in VerdictKind),
        ],
    )
    path = forms.CharField(required=False, max_length=2048, label="Path starts with", strip=False)
    username = forms.CharField(required=False, max_length=255, label="User name", strip=False)
    source = forms.CharField(required=False, max_length=64, label="Source", strip=False)
    request_id = forms.CharField(required=False, max_length=64, label="Request id")
    older = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("since", "until"):
            field = self.fields[name]
            field.widget.input_type = "datetime-local"
            field.widget.attrs["step"] = "1"
            # Far years overflow on their way to UTC.
            message = "Write a time between 1971 and 2999."
            field.validators += [
                MinValueValidator(_EARLIEST, message),
                MaxValueValidator(_LATEST, message),
            ]

    def clean_network(self) -> IPNetwork | None:
        text = self.cleaned_data["network"]
        try:
            return parse_network(text) if text else None
        except AddressError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_country(self) -> str:
        return str(self.cleaned_data["country"]).upper()

    def clean_older(self) -> Position | None:
        text = self.cleaned_data["older"]
        try:
            return Position.read(text) if text else None
        except ValueError:
            raise forms.ValidationError(
                "This link to older requests is damaged: start anew."
            ) from None


def visible(value: Any) -> Any:
    r"""Return text in which what cannot be seen, or turns the text around it, stands as \u202e."""
    if isinstance(value, tuple):
        return tuple(visible(word) for word in value)
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def shown(row: Any) -> Any:
    """Return the row with all of its texts visible. It is only looked at, never saved."""
    for name, value in list(vars(row).items()):
        setattr(row, name, visible(value))
    return row


class NewestFirst(ChangeList):
    """A list that goes from the newest row back; the rest of the page is the admin's."""

    page: Page

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        # Not the admin's: it would filter by any column that the address names.
        return self.root_queryset.none()

    def get_results(self, request: HttpRequest) -> None:
        self.page = self.answer(request)
        self.result_list = [shown(row) for row in self.page.rows]
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False

    def answer(self, request: HttpRequest) -> Page:
        rows = self.root_queryset.order_by("-at", "-pk")
        try:
            older = Position.read(request.GET.get("older", "")).older()
        except ValueError:  # none, or damaged: the newest
            return page(list(rows[: PAGE + 1]), PAGE)
        return page(list(rows.filter(older)[: PAGE + 1]), PAGE)

    def older_url(self) -> str:
        return self.get_query_string({"older": str(self.page.older)})

    def newest_url(self) -> str:
        return self.get_query_string(remove=["older"])


class Requests(NewestFirst):
    """The request log's own way to its rows."""

    question: Question
    out_of_time = False

    def answer(self, request: HttpRequest) -> Page:
        self.question = Question(request.GET)
        if not self.question.is_valid():
            return Page([])
        try:
            with TimeBudget(current().query_time_budget).spending():
                return find(Asked(**self.question.cleaned_data))
        except OutOfTime:
            self.out_of_time = True
            return Page([])


def time_with_zone() -> str:
    return f"time ({get_current_timezone_name()})"


class LookedAt(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows with a time `at`, the newest first, that nobody can add, change or delete."""

    change_list_template = "admin/tracking/newest_first.html"
    list_per_page = PAGE
    sortable_by = ()  # there is one order that an index serves
    show_full_result_count = False
    actions = None

    class Media:
        css = {"all": ["tracking/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirst

    def get_object(self, *args: Any, **kwargs: Any) -> Model | None:
        row = super().get_object(*args, **kwargs)
        return None if row is None else shown(row)

    @admin.display(description=lazy(time_with_zone, str)())
    def time(self, row: Any) -> str:
        return f"{localtime(row.at):%Y-%m-%d %H:%M:%S.%f}"


@admin.register(AuditEntry)
class AuditEntryAdmin(LookedAt):
    list_display = ("time", "actor", "action", "target", "address", "reason")
    fields = readonly_fields = (
        "time", "actor", "actor_pk", "address", "action", "target", "reason", "before", "after",
        "id",
    )  # fmt: skip


@admin.register(LoginAttempt)
class LoginAttemptAdmin(LookedAt):
    list_display = ("time", "account", "address", "outcome", "door")
    fields = readonly_fields = ("time", "account", "address", "outcome", "door", "id")


@admin.register(RequestLog)
class RequestLogAdmin(OverviewPage, Exported, LookedAt):
    change_list_template = "admin/tracking/requestlog/change_list.html"
    question = Question
    list_display = (
        "time", "address", "method", "short_path", "status", "verdict", "place", "username",
        "milliseconds", "source",
    )  # fmt: skip
    fields = readonly_fields = (
        "time",
        "address",
        "counting_key",
        "country",
        "city",
        "asn",
        "method",
        "host",
        "path",
        "normal_path",
        "query",
        "status",
        "duration_ms",
        "verdict",
        "limit",
        "rule",
        "tags",
        "username",
        "user_pk",
        "user_agent",
        "referer",
        "operations",
        "request_id",
        "source",
        "recorded",
        "id",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Requests

    @admin.display(description="recorded at")
    def recorded(self, row: RequestLog) -> str:
        return f"{localtime(row.recorded_at):%Y-%m-%d %H:%M:%S.%f}"

    @admin.display(empty_value="")
    def place(self, row: RequestLog) -> str:
        return f"{row.country} {row.city}".strip() or "-"

    @admin.display(description="path")
    def short_path(self, row: RequestLog) -> str:
        return row.path if len(row.path) <= _LONGEST_CELL else f"{row.path[: _LONGEST_CELL - 1]}…"

    @admin.display(description="ms")
    def milliseconds(self, row: RequestLog) -> str:
        return f"{row.duration_ms:.1f}"


admin.site.register(Delivery, DeliveryAdmin)
admin.site.register(BlockedIP, BlockedIPAdmin)
admin.site.register(AllowedTarget, AllowedTargetAdmin)
admin.site.register(BlockedPlace, BlockedPlaceAdmin)
admin.site.register(SuspiciousIP, SuspiciousIPAdmin)
admin.site.register(DetectionRun, DetectionRunAdmin)
# It extends the project's "admin/index.html"; who has set another template keeps that.
admin.site.index_template = admin.site.index_template or "admin/tracking/index.html"
