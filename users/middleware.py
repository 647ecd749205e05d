"""`Authorization: Bearer …` on API paths becomes `request.user`, when somebody looks at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from users import tokens
from users.models import Session, User

PATHS = ("/graphql/", "/api/")
Response = HttpResponseBase | Awaitable[HttpResponseBase]


class BearerMiddleware:
    """Stands behind AuthenticationMiddleware: where an Authorization header came, cookies are not
    looked at, and a token that is no good makes the request anonymous.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        if "HTTP_AUTHORIZATION" in request.META and request.path_info.startswith(PATHS):
            user = SimpleLazyObject(partial(_user_of, request))
            request.user = user  # type: ignore[assignment]
            request.auser = sync_to_async(partial(_user_of, request))
        return self.get_response(request)


def session_of(request: HttpRequest) -> Session | None:
    """Return the session whose token came with a request, if it is good."""
    bool(request.user.is_authenticated)  # looks at the token, once
    return getattr(request, "token_session", None)


def has_expired(request: HttpRequest) -> bool:
    """Tell whether the request is anonymous only because its token is too old."""
    bool(request.user.is_authenticated)
    return getattr(request, "token_expired", False)


def _user_of(request: HttpRequest) -> User | AnonymousUser:
    scheme, _, token = request.META["HTTP_AUTHORIZATION"].partition(" ")
    if scheme.lower() != "bearer":
        return AnonymousUser()
    try:
        session = tokens.read_access(token.strip())
    except tokens.ExpiredError:
        request.token_expired = True  # type: ignore[attr-defined]
        return AnonymousUser()
    except tokens.TokenError:
        return AnonymousUser()
    request.token_session = session  # type: ignore[attr-defined]
    return session.user
