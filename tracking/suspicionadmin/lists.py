"""The lists of suspicions and of runs: what stands on them, and how they are filtered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from tracking import backlog
from tracking.backlog import Backlog
from tracking.detectors import DETECTORS
from tracking.engine.address import AddressError, parse_network
from tracking.engine.ruletext import FOREVER
from tracking.engine.targets import texts_around
from tracking.engine.text import printable
from tracking.fields import bounds
from tracking.models import AccessRule, DetectionRun, RequestLog, SuspiciousIP

Status = SuspiciousIP.Status


class StatusFilter(admin.SimpleListFilter):
    """Open suspicions, unless another status is asked for."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        reviewed = [(status.value, status.label) for status in Status if status != Status.OPEN]
        return [*reviewed, ("any", "Any")]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "Open",
        }
        yield from list(super().choices(changelist))[1:]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "any":
            return queryset
        return queryset.filter(status=self.value() or Status.OPEN)


class DetectorFilter(admin.SimpleListFilter):
    title = "detector"
    parameter_name = "detector"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(detector.name, detector.name) for detector in DETECTORS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(detector=self.value()) if self.value() else queryset


class Written(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list of what detection has written: nobody adds, edits or deletes there."""

    change_list_template = "admin/tracking/detection_list.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each filter is a scan for each
    actions: Any = None

    class Media:
        css = {"all": ["tracking/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        so_far = backlog.of(timezone.now())
        told = {"runs": _told(so_far), "is_late": so_far.is_late}
        return super().changelist_view(request, told | (extra_context or {}))


class DetectionRunAdmin(Written):
    list_display = (
        "started", "trigger", "rows", "findings", "raised", "blocked", "suggested", "duration_ms",
    )  # fmt: skip
    fields = readonly_fields = (
        *("started", "trigger", "rows", "examined", "findings", "raised", "blocked", "suggested"),
        *("duration_ms", "id"),
    )
    ordering = ("-started_at", "-pk")
    sortable_by = ()

    @admin.display(description="started")
    def started(self, row: DetectionRun) -> str:
        return _second(row.started_at)

    @admin.display(description="new rows, at most")
    def rows(self, row: DetectionRun) -> int:
        return row.upto_row - row.after_row

    @admin.display(description="requests from and to")
    def examined(self, row: DetectionRun) -> str:
        if row.examined_from is None or row.examined_to is None:
            return "-"
        return f"{_second(row.examined_from)} – {_second(row.examined_to)}"


class SuspicionList(Written):
    list_display = ("whom", "severity", "detector", "why", "status", "response", "seen")
    list_filter = (StatusFilter, "is_suggested", "severity", DetectorFilter)
    list_select_related = ("rule",)
    ordering = ("-last_seen", "-pk")
    sortable_by = ("seen",)
    search_fields = ("reason",)
    search_help_text = "An address or network, or a part of a reason or note"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # What a request was, only those see who may see the log.
        sees_log = request.user.has_perm("tracking.view_requestlog")
        return (
            *("whom", "severity", "detector", "why", "count", "threshold", "window", "since"),
            *("seen", "status", "response", "note_shown", "reviewed"),
            *(("requests",) if sees_log else ()),
            "id",
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        try:
            network = parse_network(text)
        except AddressError:
            return queryset.filter(Q(reason__icontains=text) | Q(note__icontains=text)), False
        inside = Q(first__range=bounds(network), prefix__gte=network.prefixlen)
        around = Q(target__in=texts_around(network))
        return queryset.filter(inside | around), False

    @admin.display(description="target")
    def whom(self, row: SuspiciousIP) -> str:
        return row.target

    @admin.display(description="reason")
    def why(self, row: SuspiciousIP) -> str:
        return printable(row.reason, 500)

    @admin.display(description="response")
    def response(self, row: SuspiciousIP) -> str:
        """Return what was done or is suggested, and why not more."""
        because = f": {row.because}" if row.because else ""
        if row.is_suggested:
            return f"a block for {row.duration} is suggested{because}"
        return f"no block{because}" if row.rule is None else _block(row.rule)

    @admin.display(description="last seen", ordering="last_seen")
    def seen(self, row: SuspiciousIP) -> str:
        return _second(row.last_seen)

    @admin.display(description="first seen")
    def since(self, row: SuspiciousIP) -> str:
        return _second(row.first_seen)

    @admin.display(description="last window")
    def window(self, row: SuspiciousIP) -> str:
        return f"{_second(row.window_start)} – {_second(row.window_end)}"

    @admin.display(description="note")
    def note_shown(self, row: SuspiciousIP) -> str:
        return row.note or "-"

    @admin.display(description="reviewed")
    def reviewed(self, row: SuspiciousIP) -> str:
        if row.reviewed_at is None:
            return "-"
        return f"{_second(row.reviewed_at)} by {row.reviewed_by}"

    @admin.display(description="requests")
    def requests(self, row: SuspiciousIP) -> str | SafeString:
        """Return the requests behind the findings that the log still has, as links."""
        found = RequestLog.objects.filter(pk__in=row.evidence).order_by("-at", "-pk")
        name = f"{self.admin_site.name}:tracking_requestlog_change"
        links = format_html_join(
            "",
            '<li><a href="{}">{}</a></li>',
            ((reverse(name, args=[one.pk]), _request(one)) for one in found),
        )
        return format_html("<ul>{}</ul>", links) if links else "no longer in the log"


def _told(so_far: Backlog) -> str:
    last, after = so_far.last_run, so_far.next_run_at
    if last is None or after is None:
        return "Detection has not run yet."
    late = " Detection is late: is the Huey worker running?" if so_far.is_late else ""
    return f"Last run {_second(last.started_at)}, next run {_second(after)}.{late}"


def _block(rule: AccessRule) -> str:
    word = "would be blocked" if rule.observed else "blocked"
    end = rule.ended_at or rule.expires_at
    return f"{word} {FOREVER if end is None else f'until {_second(end)}'}"


def _request(one: RequestLog) -> str:
    return f"{_second(one.at)} {one.method} {printable(one.path, 120)} {one.status}"


def _second(moment: datetime) -> str:
    return f"{localtime(moment):%Y-%m-%d %H:%M:%S}"
