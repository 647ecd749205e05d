"""Who may ask for what: Django's model permissions, re-read on each request."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.http import HttpRequest
from strawberry.types import Info

from schema.errors import Code, Refusal
from tracking import guard
from tracking.audit import Actor
from users.middleware import has_expired
from users.models import User

# The ready-made groups, made and kept up to date after each `migrate`. Each has what stands before.
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": (
        "tracking.view_requestlog",
        "tracking.view_accessrule",
        "tracking.view_suspiciousip",
    ),
    "analyst": (
        "tracking.view_loginattempt",
        "tracking.view_auditentry",
        "tracking.reset_limit",
        "tracking.change_suspiciousip",
        "tracking.view_detectionrun",
        "tracking.view_delivery",
    ),
    "administrator": (
        "tracking.add_accessrule",
        "tracking.change_accessrule",
        "tracking.run_detection",
        "users.view_user",
        "users.change_user",
    ),
}


def signed_in(info: Info) -> User:
    """Return the caller's account. Raises Refusal: UNAUTHENTICATED or TOKEN_EXPIRED."""
    request = info.context.request
    user: User = request.user
    if user.is_authenticated:
        return user
    raise must_log_in(request, "see this")


def must_log_in(request: HttpRequest, purpose: str) -> Refusal:
    """Return the refusal of a caller who is nobody: UNAUTHENTICATED or TOKEN_EXPIRED."""
    if has_expired(request):
        return Refusal(Code.TOKEN_EXPIRED, "The access token is too old: refresh it.")
    return Refusal(Code.UNAUTHENTICATED, f"Log in to {purpose}.")


def require(info: Info, permission: str) -> None:
    """Return when the caller holds `permission` (such as `tracking.view_requestlog`).

    Raises Refusal: UNAUTHENTICATED or TOKEN_EXPIRED for the anonymous, FORBIDDEN for others.
    """
    if not signed_in(info).has_perm(permission):
        raise Refusal(Code.FORBIDDEN, f"This needs the permission {permission}.")


def make_roles(**_: object) -> None:
    """Make the groups of ROLES and give each its permissions (after `migrate`).

    Permissions that somebody gave a group besides stay.
    """
    granted: list[Permission] = []
    for name, codes in ROLES.items():
        for code in codes:
            app, codename = code.split(".")
            granted += Permission.objects.filter(content_type__app_label=app, codename=codename)
        Group.objects.get_or_create(name=name)[0].permissions.add(*granted)


def actor(info: Info) -> Actor:
    """Return the caller, who has passed `require`, as the audit log names him."""
    return guard.actor_of(info.context.request)
