"""Who may ask for what: Django's model permissions, re-read on each request."""

from __future__ import annotations

from strawberry.types import Info

from schema.errors import Code, Refusal
from tracking.audit import Actor
from tracking.engine.visit import Visit


def require(info: Info, permission: str) -> None:
    """Return when the caller holds `permission` (such as `tracking.view_requestlog`).

    Raises Refusal: UNAUTHENTICATED for the anonymous, FORBIDDEN for everybody else.
    """
    user = info.context.request.user
    if not user.is_authenticated:
        raise Refusal(Code.UNAUTHENTICATED, "Log in to see this.")
    if not user.has_perm(permission):
        raise Refusal(Code.FORBIDDEN, f"This needs the permission {permission}.")


def actor(info: Info) -> Actor:
    """Return the caller, who has passed `require`, as the audit log names him."""
    request = info.context.request
    visit: Visit | None = getattr(request, "visit", None)
    address = visit.address if visit is not None else None
    return Actor(request.user.get_username(), str(request.user.pk), address)
