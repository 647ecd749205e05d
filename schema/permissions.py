"""Who may ask for what: Django's model permissions, re-read on each request."""

from __future__ import annotations

from strawberry.types import Info

from schema.errors import Code, Refusal


def require(info: Info, permission: str) -> None:
    """Return when the caller holds `permission` (such as `tracking.view_requestlog`).

    Raises Refusal: UNAUTHENTICATED for the anonymous, FORBIDDEN for everybody else.
    """
    user = info.context.request.user
    if not user.is_authenticated:
        raise Refusal(Code.UNAUTHENTICATED, "Log in to see this.")
    if not user.has_perm(permission):
        raise Refusal(Code.FORBIDDEN, f"This needs the permission {permission}.")
