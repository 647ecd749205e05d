"""Let front ends of other origins read why they are refused.

The guard refuses before the middleware of django-cors-headers is reached, which stays behind it so
that preflights are on record and a blocked one is refused.
"""

from __future__ import annotations

from http import HTTPStatus

from corsheaders.middleware import ACCESS_CONTROL_ALLOW_ORIGIN, CorsMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class RefusalCorsMiddleware(CorsMiddleware):
    """Adds the headers to a 403 that lacks them, and does nothing else."""

    def check_preflight(self, request: HttpRequest) -> None:
        return None

    def add_response_headers(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.status_code != HTTPStatus.FORBIDDEN or ACCESS_CONTROL_ALLOW_ORIGIN in response:
            return response
        return super().add_response_headers(request, response)
