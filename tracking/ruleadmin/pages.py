"""Pages that change rules: make one, lift, extend or make again some, read and write files.

Everything is written by tracking.blocklist, under its guards and with the name of who asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from tracking import blocklist, conf, guard, peers, rulefiles, ruleimport
from tracking.audit import Actor
from tracking.engine.rules import RuleAction
from tracking.engine.targets import RuleKind
from tracking.models import AccessRule
from tracking.proposals import BlockingError
from tracking.ruleadmin.forms import ImportForm, LongerForm, ReasonForm, RuleForm
from tracking.ruleadmin.lists import RuleList
from tracking.ruleadmin.steps import STEPS
from tracking.ruleimport import Report

MOST_SHOWN = 100  # bad lines of a file
OBSERVING = "Nothing is refused: TRACKING_ENFORCEMENT is observe."


class RuleAdmin(RuleList):
    """A list of rules with all that can be done to them; `words` are its names for that.

    Rules of other `kinds` than its own are made elsewhere: here they would not be seen.
    """

    action: RuleAction
    kinds: tuple[RuleKind, ...]
    about: str
    words: dict[str, str]

    change_form_template = "admin/tracking/rule.html"
    actions = ("lift", "extend", "again")

    def get_urls(self) -> list[URLPattern]:
        named = f"tracking_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            *(
                path(f"{verb}/", view(self.steer), {"verb": verb}, name=f"{named}_{verb}")
                for verb in self.words
            ),
            path("import/", view(self.import_view), name=f"{named}_import"),
            path("export/", view(self.export_view), name=f"{named}_export"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        notices = [] if conf.current().enforces else [OBSERVING]
        notices += [problem] if (problem := peers.problem(timezone.now())) else []
        told = {"notices": notices, "title": self.opts.verbose_name_plural}
        return super().changelist_view(request, told | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        verbs = ("lift", "extend") if row and row.is_live(timezone.now()) else ("again",)
        steps = [
            (self.words[verb], f"{self._url(verb)}?rules={object_id}")
            for verb in verbs
            if self._may(request, verb)
        ]
        told = {"steps": steps} | (extra_context or {})
        return super().change_view(request, object_id, form_url, told)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form, filled in from the URL (`?target=`), and make the rule."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        actor = guard.actor_of(request)
        told = {name: request.GET[name] for name in ("target", "reason") if name in request.GET}
        form = RuleForm(
            request.POST or None,
            initial=told,
            action=self.action,
            kinds=self.kinds,
            about=self.about,
            forcible=actor.is_superuser,
        )
        if form.is_valid() and self._is_made(request, actor, form):
            return self._back(request)
        return self._page(request, form, f"Add {self.opts.verbose_name}")

    def steer(self, request: HttpRequest, verb: str) -> HttpResponse:
        """Lift, extend or make again the rules that the page before it chose."""
        chosen = request.POST.get("rules") or request.GET.get("rules", "")
        numbers = [int(word) for word in chosen.split(",") if word.isascii() and word.isdigit()]
        rows = self.get_queryset(request).filter(pk__in=[n for n in numbers if n < 1 << 63])
        return self._steered(request, verb, rows)

    @admin.action(permissions=["steer"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._steered(request, "lift", queryset)

    @admin.action(permissions=["steer"])
    def extend(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._steered(request, "extend", queryset)

    @admin.action(permissions=["add"])
    def again(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._steered(request, "again", queryset)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        return {name: (each[0], name, self.words[name]) for name, each in actions.items() if each}

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Make the rules of a file, and tell which of its lines are bad."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        report = self._brought_in(request, form) if form.is_valid() else None
        if report is not None and not report.bad and report.applied:
            return self._back(request)
        bad = report.bad if report is not None else []
        told = {"bad": bad[:MOST_SHOWN], "hidden": len(bad[MOST_SHOWN:])}
        return self._page(request, form, "Import rules", **told)

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """Stream the rules in force of this list as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_queryset(request).live(timezone.now())  # type: ignore[attr-defined]
        rules = rows.order_by("action", "pk").iterator(2000)
        response = StreamingHttpResponse(
            rulefiles.write("csv", rules), content_type="text/csv; charset=utf-8"
        )
        name = self.opts.model_name
        response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        return response

    def _is_made(self, request: HttpRequest, actor: Actor, form: RuleForm) -> bool:
        try:
            if self.action is RuleAction.BLOCK:
                self._say(request, blocklist.block(actor, form.proposal()))
                return True
            allowance = blocklist.allow(actor, form.proposal())
        except BlockingError as error:
            form.add_error(_field_of(form, error), str(error))
            return False
        self._say(request, allowance.rule)
        for row in allowance.shadowing[:MOST_SHOWN]:
            messages.warning(request, f"{row.target} inside it stays blocked: unblock it too.")
        return True

    def _steered(self, request: HttpRequest, verb: str, chosen: QuerySet[Any]) -> HttpResponse:
        """Ask why, and until when; do it once that is answered."""
        if not self._may(request, verb):
            raise PermissionDenied
        live = chosen.live(timezone.now())  # type: ignore[attr-defined]
        rows = list(
            (chosen.exclude(pk__in=live) if verb == "again" else live).order_by("pk")[:1001]
        )
        if not rows or len(rows) > blocklist.MOST_AT_ONCE:
            wrong = "Choose at most 1,000 rules." if rows else _NOTHING[verb]
            messages.warning(request, wrong)
            return self._back(request)
        is_answer = request.method == "POST" and "rules" in request.POST
        form = (ReasonForm if verb == "lift" else LongerForm)(request.POST if is_answer else None)
        if form.is_valid() and self._is_done(request, verb, rows, form):
            return self._back(request)
        numbers = ",".join(str(row.pk) for row in rows)
        title = self.words[verb]
        return self._page(request, form, title, rows=rows, numbers=numbers, to=self._url(verb))

    def _is_done(
        self, request: HttpRequest, verb: str, rows: Sequence[AccessRule], form: forms.Form
    ) -> bool:
        outcomes = STEPS[verb](guard.actor_of(request), rows, form.cleaned_data)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BlockingError)]
        for each in failed[:MOST_SHOWN]:
            form.add_error(None, str(each))
        if len(failed) < len(outcomes):
            messages.success(request, f"{self.words[verb]}: {len(outcomes) - len(failed)} done.")
        return not failed

    def _brought_in(self, request: HttpRequest, form: ImportForm) -> Report | None:
        told = form.cleaned_data
        lines = TextIOWrapper(
            told["file"], encoding="utf-8-sig", errors="backslashreplace", newline=""
        )
        defaults = rulefiles.Defaults(told["duration"], told["reason"])
        try:
            report = ruleimport.bring_in(
                guard.actor_of(request),
                rulefiles.read(rulefiles.format_of(told["file"].name), lines, defaults),
                strict=told["strict"],
                dry_run=told["dry_run"],
            )
        except rulefiles.FileError as error:
            form.add_error("file", str(error))
            return None
        finally:
            lines.detach()
        made = "made" if report.applied else "that would be made, though nothing is changed"
        messages.info(request, f"Rules {made}: {report.made}; there already: {report.known}.")
        return report

    def _page(
        self, request: HttpRequest, form: forms.Form, title: str, **told: Any
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "adminform": AdminForm(
                form,  # type: ignore[arg-type] # any form is fine
                [(None, {"fields": list(form.fields)})],
                {},
            ),
            "media": self.media + form.media,
            **told,
        }
        return TemplateResponse(request, "admin/tracking/rule_form.html", context)

    def _say(self, request: HttpRequest, row: AccessRule) -> None:
        word = "until " if row.expires_at is not None else ""
        messages.success(request, f"{row}, {word}{self.until(row)}.")

    def _may(self, request: HttpRequest, verb: str) -> bool:
        if verb == "again":
            return self.has_add_permission(request)
        return self.has_steer_permission(request)

    def _url(self, page: str) -> str:
        name = f"{self.admin_site.name}:tracking_{self.opts.model_name}_{page}"
        return reverse(name)

    def _back(self, request: HttpRequest) -> HttpResponseRedirect:
        sees_list = self.has_view_permission(request)
        return HttpResponseRedirect(
            self._url("changelist") if sees_list else reverse(f"{self.admin_site.name}:index")
        )


_NOTHING = {
    "lift": "What you chose is over already.",
    "extend": "What you chose is over: make it again.",
    "again": "What you chose is in force.",
}


def _field_of(form: forms.Form, error: BlockingError) -> str | None:
    """Return the name of the field that an error is about."""
    name = getattr(error, "argument", "target")
    return name if name in form.fields else None
