"""Lists of rules: what stands on them, how they are filtered and searched, and who sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timezone import localtime

from tracking import geo
from tracking.engine.address import AddressError, parse_network
from tracking.engine.ruletext import FOREVER
from tracking.models import AccessRule


class StateFilter(admin.SimpleListFilter):
    """Rules in force, unless another state is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("ended", "Ended"), ("any", "In force or ended")]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "In force",
        }
        yield from list(super().choices(changelist))[1:]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        if self.value() == "ended":
            return queryset.filter(Q(ended_at__isnull=False) | Q(expires_at__lte=now))
        return queryset if self.value() == "any" else queryset.live(now)


class RuleList(admin.ModelAdmin):  # type: ignore[type-arg]
    """What the lists of rules have in common; each shows some of one table."""

    shows: Q

    change_list_template = "admin/tracking/rule_list.html"
    list_display = ("whom", "until", "hits", "last_hit", "reason", "by")
    list_filter = (StateFilter, "observed", "origin")
    sortable_by = ("until", "hits", "last_hit")
    ordering = ("-created_at", "-pk")
    search_fields = ("reason",)
    search_help_text = "An address (finds what covers it), a network, or a part of a reason"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each filter is a scan for each
    fields = (
        "target", "kind", "action", "observed", "path", "methods", "reason", "origin",
        "created_by", "made", "until", "hits", "last_hit", "id",
    )  # fmt: skip
    readonly_fields = fields

    class Media:
        css = {"all": ["tracking/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(self.shows)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        try:
            network = parse_network(text)
        except AddressError:
            exactly = Q(target=text.upper()) | Q(created_by=text)
            return queryset.filter(exactly | Q(reason__icontains=text)), False
        about = AccessRule.objects.about(network[0], geo.locate(network[0]))
        if network.num_addresses > 1:
            about = AccessRule.objects.covering(network) | AccessRule.objects.inside(network)
        return queryset.filter(pk__in=about.values("pk")), False

    @admin.display(description="target")
    def whom(self, row: AccessRule) -> str:
        """Return the target, and what keeps the rule from refusing all of its requests."""
        only = " ".join(filter(None, (*row.methods, row.path)))
        observed = "(only observed)" if row.observed else ""
        return " ".join(filter(None, (row.target, only, observed)))

    @admin.display(description="by")
    def by(self, row: AccessRule) -> str:
        by_hand = row.origin == AccessRule.Origin.MANUAL
        return (
            row.created_by if by_hand else f"{row.created_by} ({row.get_origin_display().lower()})"
        )

    @admin.display(description="until", ordering="expires_at")
    def until(self, row: AccessRule) -> str:
        end = row.ended_at or row.expires_at
        if end is None:
            return FOREVER
        over = "" if row.is_live(timezone.now()) else "ended "
        return over + _minute(end)

    @admin.display(description="last hit", ordering="last_hit_at")
    def last_hit(self, row: AccessRule) -> str:
        return "-" if row.last_hit_at is None else _minute(row.last_hit_at)

    @admin.display(description="made")
    def made(self, row: AccessRule) -> str:
        return _minute(row.created_at)

    # Who may do what: the permissions of the one table behind the lists

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, "view")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _may(request, "add")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return _may(request, "change")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # no column is edited: rules are lifted, extended, made again

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _minute(moment: datetime) -> str:
    return f"{localtime(moment):%Y-%m-%d %H:%M}"


def _may(request: HttpRequest, verb: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"tracking.{verb}_accessrule"))
