"""The request log in Django's admin as a file: all that its filter finds, not just one page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse

from tracking import attachment, guard, ipstorage
from tracking.export import Format, Selection
from tracking.logpage import Asked, conditions


class Exported(admin.ModelAdmin):  # type: ignore[type-arg]
    """Has a page `export/` that answers the question of the list with a file."""

    question: type[forms.Form]  # whose cleaned data are those of Asked

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="tracking_requestlog_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the requests that the filter in the URL finds, as its `format` says."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        question = self.question(request.GET)
        if not question.is_valid() or request.GET.get("format") not in set(Format):
            # The list says what is wrong with its filter.
            page = reverse(f"{self.admin_site.name}:tracking_requestlog_changelist")
            return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}")
        form = Format(request.GET["format"])
        chosen = selection(question.cleaned_data)
        return attachment.answer(request, guard.actor_of(request), chosen, form)


def selection(facts: dict[str, Any]) -> Selection:
    """Return what the filter of the list finds, whatever page of it is shown."""
    asked = Asked(**(facts | {"older": None}))
    return Selection(
        condition=_condition(asked),
        since=asked.since,
        until=asked.until,
        asked={name: str(value) for name, value in facts.items() if value and name != "older"},
    )


def _condition(asked: Asked) -> Q:
    """Return the condition on rows; one address, unlike a network, is best found by its index."""
    network = asked.network
    if network is None or network.num_addresses > 1:
        return conditions(asked)
    return ipstorage.at(network[0]) & conditions(replace(asked, network=None))
