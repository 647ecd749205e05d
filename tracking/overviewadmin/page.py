"""The page of the overview in the admin, and the policy under which a browser shows it."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path
from django.utils import timezone

from tracking.overview import Period
from tracking.overviewadmin.links import Links
from tracking.overviewadmin.parts import parts
from tracking.overviewadmin.question import Asked, Question

CHARTS = "tracking/vendor/chart.min.js"  # deploy/assets.py puts it there
SECONDS_BETWEEN_UPDATES = 30


class OverviewPage(admin.ModelAdmin):  # type: ignore[type-arg]
    """What the admin of the request log has besides its rows."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.overview_view)
        return [path("overview/", view, name="tracking_requestlog_overview"), *super().get_urls()]

    def overview_view(self, request: HttpRequest) -> TemplateResponse:
        """Show what this member of staff may see; with `?fragment`, without the page around it."""
        now = timezone.now()
        question = Question(request.GET)
        asked = Asked.read(question)
        context = {
            "question": question,
            "asked": asked,
            "periods": [asked.over(period) for period in Period],
            "now": now,
            "has_charts": has_charts(),
            **parts(request, asked, now, Links(self.admin_site.name)),
        }
        name = "admin/tracking/overview_parts.html"
        if "fragment" not in request.GET:
            name = "admin/tracking/overview.html"
            context |= self.admin_site.each_context(request)
            context |= {"title": "Overview", "opts": self.opts, "seconds": SECONDS_BETWEEN_UPDATES}
        request.current_app = self.admin_site.name
        response = TemplateResponse(request, name, context)
        response["Content-Security-Policy"] = content_security_policy()
        return response


def has_charts() -> bool:
    """Tell whether the file that draws charts is where static files are served from."""
    if settings.DEBUG:
        return finders.find(CHARTS) is not None
    return staticfiles_storage.exists(CHARTS)


def content_security_policy() -> str:
    """Return what the page may load: files of this site, or of the one that serves its statics."""
    files = urlsplit(static("tracking/overview.css"))
    own = f"'self' {files.scheme or 'https'}://{files.netloc}" if files.netloc else "'self'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own}",
            f"style-src {own}",
            f"img-src {own} data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
