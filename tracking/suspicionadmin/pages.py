"""Reviewing suspicions in the admin, from their list or from the page of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from tracking import guard
from tracking.models import SuspiciousIP
from tracking.proposals import BlockingError
from tracking.reviews import ReviewError
from tracking.suspicionadmin.lists import SuspicionList
from tracking.suspicionadmin.verbs import VERBS, Verb, may, may_not_lift

MOST_AT_ONCE = 1000
MOST_SHOWN = 100  # of what went wrong


class SuspiciousIPAdmin(SuspicionList):
    change_form_template = "admin/tracking/suspicion.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.review_view)
        return [
            *(path(f"{name}/", view, {"name": name}, _url_name(name)) for name in VERBS),
            *super().get_urls(),
        ]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {
            name: (_action(name), name, verb.words)
            for name, verb in VERBS.items()
            if may(request, verb)
        }

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        steps = [
            (verb.words, f"{self._url(name)}?rows={row.pk}")
            for name, verb in VERBS.items()
            if row is not None and verb.fits(row) and may(request, verb)
        ]
        told = {"steps": steps} | (extra_context or {})
        return super().change_view(request, object_id, form_url, told)

    def review_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Review the suspicions that the page before it chose."""
        chosen = request.POST.get("rows") or request.GET.get("rows", "")
        numbers = [int(word) for word in chosen.split(",") if word.isascii() and word.isdigit()]
        known = [number for number in numbers if number < 1 << 63]
        return self.review(request, name, self.get_queryset(request).filter(pk__in=known))

    def review(self, request: HttpRequest, name: str, chosen: QuerySet[Any]) -> HttpResponse:
        """Ask for a note; write down what is thought of these suspicions once that is answered."""
        verb = VERBS[name]
        if not may(request, verb):
            raise PermissionDenied
        chosen = chosen.select_related("rule").order_by("pk")
        rows = [row for row in chosen[: MOST_AT_ONCE + 1] if verb.fits(row)]
        if not 0 < len(rows) <= MOST_AT_ONCE:
            wrong = "Choose at most 1,000." if rows else f"{verb.words}: there is nothing to do."
            messages.warning(request, wrong)
            return self._back()
        is_answer = request.method == "POST" and "rows" in request.POST
        form = verb.form(request.POST if is_answer else None)
        if form.is_valid():
            rows = self._left(request, verb, rows, form)
            if not rows:
                return self._back()
        return self._page(request, form, name, rows)

    def _left(
        self, request: HttpRequest, verb: Verb, rows: Sequence[SuspiciousIP], form: forms.Form
    ) -> list[SuspiciousIP]:
        """Do it to each row for itself, and return those that it could not be done to."""
        left, told, actor = [], form.cleaned_data, guard.actor_of(request)
        for row in rows:
            try:
                if may_not_lift(request, verb, row):
                    raise ReviewError("A person has made its block: you may not lift that.")
                verb.does(actor, row.pk, told)
            except (ReviewError, BlockingError, SuspiciousIP.DoesNotExist) as error:
                left.append(row)
                if len(left) <= MOST_SHOWN:
                    form.add_error(None, f"{row.target}: {error}")
        if len(left) < len(rows):
            messages.success(request, f"{verb.words}: {len(rows) - len(left)} done.")
        return left

    def _page(
        self, request: HttpRequest, form: forms.Form, name: str, rows: Sequence[SuspiciousIP]
    ) -> TemplateResponse:
        fields = {"fields": list(form.fields)}
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": VERBS[name].words,
            "adminform": AdminForm(form, [(None, fields)], {}),  # type: ignore[arg-type]
            "form": form,
            "rows": rows,
            "numbers": ",".join(str(row.pk) for row in rows),
            "to": self._url(name),
            "media": self.media + form.media,
        }
        return TemplateResponse(request, "admin/tracking/review.html", context)

    def _url(self, name: str) -> str:
        return reverse(f"{self.admin_site.name}:{_url_name(name)}")

    def _back(self) -> HttpResponseRedirect:
        return HttpResponseRedirect(self._url("changelist"))


def _url_name(name: str) -> str:
    return f"tracking_suspiciousip_{name}"


def _action(name: str) -> Callable[..., HttpResponse]:
    def action(
        modeladmin: SuspiciousIPAdmin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse:
        return modeladmin.review(request, name, queryset)

    return action
