"""Accounts and their sessions in the admin.

Who may change accounts, superuser or not, makes nobody more powerful than he is: superusers, staff
and roles are for superusers. Every change goes on record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from users import accounts
from users.models import LAST_SUPERUSER, Session, User
from users.signals import account_changed

POWER = ("is_staff", "is_superuser", "groups", "user_permissions")
RECORDED = ("username", "is_active", *POWER)
PERSONAL = ("first_name", "last_name", "email")  # on record without what they say


@admin.register(User)
class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    """Django's pages for users, with the limits that an administrator who is no superuser has."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and is_reachable(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and is_reachable(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *POWER)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the superusers as protected where no other one would be left."""
        told, counts, missing, protected = super().get_deleted_objects(objs, request)
        doomed = [user.pk for user in objs]
        superusers = set(User.objects.superusers().values_list("pk", flat=True))
        if superusers and superusers.issubset(doomed):
            protected = [*protected, LAST_SUPERUSER]
        return told, counts, missing, protected

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        names = [name for name in form.changed_data if name in RECORDED]
        before = {name: plain(form.initial.get(name)) for name in names}
        after = {name: plain(form.cleaned_data[name]) for name in names}
        after |= {name: "changed" for name in form.changed_data if name in PERSONAL}
        if not change:
            put_on_record(request, "account_made", form.instance, None, after)
        elif after:
            put_on_record(request, "account_changed", form.instance, before, after)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        match = request.resolver_match
        if match is not None and match.url_name == "auth_user_password_change":
            put_on_record(request, "password_changed", obj)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for user in queryset:
            before = {name: getattr(user, name) for name in ("username", "is_superuser")}
            put_on_record(request, "account_deleted", user, before)
        return super().log_deletions(request, queryset)  # type: ignore[arg-type]


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Where accounts are signed in by token: to look at, and to end."""

    list_display = ("user", "address", "user_agent", "created_at", "last_used_at", "state")
    list_select_related = ("user",)
    ordering = ("-created_at",)
    search_fields = ("user__username",)
    show_full_result_count = False
    actions = ("end_sessions",)
    fields = readonly_fields = (
        *("user", "address", "user_agent", "created_at", "last_used_at"),
        *("expires_at", "ended_at", "end_reason", "state"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("users.view_user")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("users.change_user")

    @admin.display(description="state")
    def state(self, session: Session) -> str:
        if session.ended_at is not None:
            return f"ended ({session.end_reason})"
        return "live" if session.expires_at > timezone.now() else "expired"

    @admin.action(description="End the selected sessions", permissions=["end"])
    def end_sessions(self, request: HttpRequest, chosen: QuerySet[Session]) -> None:
        actor = request.user
        if not isinstance(actor, User):
            return
        reachable = [each for each in chosen if is_reachable(request, each.user)]
        ended = sum(accounts.end(each, "ended", actor, request) for each in reachable)
        self.message_user(request, f"{ended} ended.", messages.SUCCESS)
        if len(reachable) < chosen.count():
            told = "Those of superusers go on: only a superuser ends them."
            self.message_user(request, told, messages.WARNING)


def is_reachable(request: HttpRequest, user: User | None) -> bool:
    """Tell whether the one who asks has enough power to change this account."""
    return user is None or request.user.is_superuser or not user.is_superuser


def plain(value: Any) -> Any:
    """Return what stands in a form's field as JSON can write it."""
    if isinstance(value, list | tuple | QuerySet):
        return sorted(map(str, value))
    return value if isinstance(value, bool) or value is None else str(value)


def put_on_record(
    request: HttpRequest, action: str, user: Any, before: Any = None, after: Any = None
) -> None:
    account_changed.send(
        sender=User,
        actor=request.user,
        action=action,
        user=user,
        before=before,
        after=after,
        reason="",
        request=request,
    )
