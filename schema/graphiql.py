"""The GraphiQL page: an editor for queries, served whole from this service's own files."""

from __future__ import annotations

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

# The last file that `deploy/assets.py` puts in place.
STAMP = "schema/vendor/installed.txt"

# GraphiQL's dialogs and menus put one <style> element into the page, always with this same text,
# that keeps what is behind them from scrolling.
SCROLL_LOCK = "sha256-Y/huXlwoYkVyQlxwSVcCi1RCDGDCSVBzDt0hYP9qlTc="

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' '{SCROLL_LOCK}'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


def allowed(request: HttpRequest) -> bool:
    """Tell whether this caller may have the page: everybody with GRAPHIQL on, else staff alone."""
    if settings.GRAPHIQL:
        return True
    user = request.user
    return user.is_authenticated and user.is_active and user.is_staff


def page(request: HttpRequest) -> HttpResponse:
    """Return the page. It sets the CSRF cookie, which the page's own requests send back."""
    response = render(
        request,
        "schema/graphiql.html",
        {"installed": installed(), "collected": not settings.DEBUG, **names()},
    )
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    add_never_cache_headers(response)
    return response


def installed() -> bool:
    """Tell whether the editor's files are where static files are served from."""
    if settings.DEBUG:
        return finders.find(STAMP) is not None
    return staticfiles_storage.exists(STAMP)


def names() -> dict[str, str]:
    """Return how this service calls its CSRF cookie and header, as a browser sees them."""
    return {
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
    }
