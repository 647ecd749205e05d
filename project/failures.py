"""The answer when something fails outside of every view, in the form that its door speaks.

While the database is away that is 503, since it helps to try again; else 500.
"""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from schema.errors import masked
from users import rest

RETRY_AFTER = "5"  # seconds


def answer(request: HttpRequest) -> HttpResponse:
    """Return the answer; Django asks for it while it handles the exception, and logs that."""
    away = isinstance(sys.exception(), OperationalError | InterfaceError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR
    response = in_form(request, status)
    response.status_code = status
    if away:
        response["Retry-After"] = RETRY_AFTER
    return response


def in_form(request: HttpRequest, status: HTTPStatus) -> HttpResponse:
    reference = getattr(getattr(request, "visit", None), "request_id", "")
    if request.path_info.startswith("/graphql/"):
        return JsonResponse({"errors": [masked(reference)]})
    if request.path_info.startswith("/api/"):
        detail = str(masked(reference)["message"])
        return rest.answer(rest.Problem(status, detail, "INTERNAL_SERVER_ERROR"))
    return defaults.server_error(request)
