"""Who asks, as far as limits need to know: a class, and for users their key.

The user is looked at only when a credential came along, so that anonymous requests cost no SQL, and
without leaving a trace in the session: an answer that did not depend on it may still be shared.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from tracking.engine.limits import ClientClass


def classify(request: HttpRequest) -> tuple[ClientClass, str]:
    """Return the caller's class and the primary key of the user, empty for nobody."""
    if not has_credential(request):
        return ClientClass.ANONYMOUS, ""
    user = _user(request)
    if user is None or not user.is_authenticated:
        return ClientClass.ANONYMOUS, ""
    who = ClientClass.STAFF if user.is_staff else ClientClass.AUTHENTICATED
    return who, str(user.pk)


def has_credential(request: HttpRequest) -> bool:
    """Tell whether something came along that may say who asks; reading it may take a database."""
    cookies = request.META.get("HTTP_COOKIE", "")
    return "HTTP_AUTHORIZATION" in request.META or settings.SESSION_COOKIE_NAME in cookies


def _user(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    session = getattr(request, "session", None)
    if user is None or session is None or session.accessed:
        return user
    bool(user.is_authenticated)  # loads session and user, if they are to be loaded
    if session.accessed:
        # Whoever looks at the user from here on depends on the session, and must be seen to.
        session.accessed = False
        request.user = SimpleLazyObject(partial(_noticed, session, user))  # type: ignore[assignment]
    return user


def _noticed(session: Any, user: Any) -> Any:
    session.accessed = True
    return user
