"""The accounts, where they are signed in, and the one-time tokens that keep them so."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.signals import post_delete, pre_delete
from django.dispatch import receiver
from django.utils import timezone


def canonical_username(username: str) -> str:
    """Return the one form of all spellings of a name that people take for the same."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)  # folding can undo the form


class UserManager(DjangoUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> User:
        """Return the account that is meant by a name in any spelling."""
        if not (username or "").isprintable():
            raise self.model.DoesNotExist  # no name has NUL or half a character: databases fail
        return self.get(canonical=canonical_username(username or ""))

    def superusers(self) -> models.QuerySet[User]:
        """Return the accounts that can administer the service."""
        return self.filter(is_superuser=True, is_active=True)

    def is_last_superuser(self, user: User) -> bool:
        """Tell whether nobody could administer the service any more without this account."""
        able = self.superusers()
        return able.filter(pk=user.pk).exists() and not able.exclude(pk=user.pk).exists()

    def lock_superusers(self) -> list[User]:
        """Return the superusers, none of whom another transaction takes away meanwhile."""
        return list(self.superusers().select_for_update().order_by("pk"))


class User(AbstractUser):
    """An account. `canonical` makes names unique whatever their case and Unicode form."""

    canonical = models.CharField(max_length=600, unique=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    was_superuser = False  # in the database, when it was deleted

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        # Django's forms clear a name that they refuse.
        self.canonical = canonical_username(self.username or "")
        super().clean_fields(exclude)

    def clean(self) -> None:
        super().clean()
        others = User.objects.filter(canonical=canonical_username(self.username or ""))
        if others.exclude(pk=self.pk).exists():
            raise ValidationError({"username": "A user with that username already exists."})
        if self._loses_power() and User.objects.is_last_superuser(self):
            raise ValidationError(LAST_SUPERUSER)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; whoever sets a password or takes the account its access ends its sessions."""
        self.canonical = canonical_username(self.username)
        if kwargs.get("update_fields") and "username" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "canonical"}
        password_set = getattr(self, "_password", None) is not None  # until it is saved
        with transaction.atomic():
            if self._takes_power(kwargs.get("update_fields")):
                require_other(User.objects.lock_superusers(), self)
            super().save(*args, **kwargs)
        if password_set:
            self.sessions.end("password_changed")
        elif not self.is_active:
            self.sessions.end("deactivated")

    def _loses_power(self) -> bool:
        return not (self.is_superuser and self.is_active)

    def _takes_power(self, update_fields: Collection[str] | None) -> bool:
        """Tell whether saving these fields might make a superuser an ordinary account."""
        saved = update_fields is None or not {"is_superuser", "is_active"}.isdisjoint(update_fields)
        return saved and self._loses_power() and not self._state.adding


LAST_SUPERUSER = (
    "This is the last active superuser: make another one first, or nobody could administer this"
    " service any more."
)


class LastSuperuserError(ValidationError):
    """What was to be saved or deleted is the last active superuser; nothing was changed."""

    def __init__(self) -> None:
        super().__init__(LAST_SUPERUSER, "last_superuser")


def require_other(superusers: list[User], user: User) -> None:
    """Raise LastSuperuserError when this account is the only one of these."""
    if [other.pk for other in superusers] == [user.pk]:
        raise LastSuperuserError


@receiver(pre_delete, sender=User, dispatch_uid="users.remember_superuser")
def remember_superuser(instance: User, **_: Any) -> None:
    instance.was_superuser = instance in User.objects.lock_superusers()


@receiver(post_delete, sender=User, dispatch_uid="users.keep_a_superuser")
def keep_a_superuser(instance: User, **_: Any) -> None:
    """Undo a deletion, of one account or of many together, that leaves no superuser."""
    if instance.was_superuser and not User.objects.superusers().exists():
        raise LastSuperuserError


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self) -> SessionQuerySet:
        """Sessions that are neither ended nor expired, of accounts that may log in."""
        now = timezone.now()
        return self.filter(ended_at=None, expires_at__gt=now, user__is_active=True)

    def end(self, reason: str) -> int:
        """End those that are not over; return how many."""
        return self.filter(ended_at=None).update(ended_at=timezone.now(), end_reason=reason)


class Session(models.Model):
    """One login by token: a family of refresh tokens, of which one at a time is good."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=32, blank=True)
    version = models.CharField(max_length=16, editable=False)  # of the password, at the login
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=512, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["user", "ended_at"], name="session_user")]

    def __str__(self) -> str:
        return f"{self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class RefreshToken(models.Model):
    """A refresh token, of which only the SHA-256 is kept; `used_at` makes it good for one use."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="refresh_tokens")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"of {self.session}"
