"""The verbs: sign up, log in, refresh, log out, change password, deactivate.

Every door (GraphQL, REST) calls these. What the caller can mend is raised as AccountError.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import authenticate, password_validation
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from users import tokens
from users.models import (
    LAST_SUPERUSER,
    LastSuperuserError,
    RefreshToken,
    Session,
    User,
    canonical_username,
)
from users.signals import account_changed

SESSION_LIFETIME = timedelta(days=90)  # however often it is refreshed
WRONG_LOGIN = "Wrong username or password."


class AccountError(Exception):
    """What the caller can mend: a code of the contract, a sentence, and the field it is about."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


def taken() -> AccountError:
    return AccountError("USERNAME_TAKEN", "This username is taken.", "username")


def invalid_token() -> AccountError:
    return AccountError("INVALID_TOKEN", "This token is not good any more: log in.", "refreshToken")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh hands out."""

    session: Session
    access: tokens.AccessToken
    refresh: str
    refresh_expires_at: datetime


def sign_up(
    username: str, password: str, email: str = "", request: HttpRequest | None = None
) -> User:
    """Make an account that may do nothing but be itself.

    Raises AccountError: SIGNUP_CLOSED, INVALID_INPUT, USERNAME_TAKEN, WEAK_PASSWORD.
    """
    if not settings.SIGNUP_OPEN:
        raise AccountError("SIGNUP_CLOSED", "New accounts are made by an administrator here.")
    user = User(username=User.normalize_username(username), email=email)
    _check_fields(user)
    _check_password(password, user)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
            after: dict[str, object] = {"username": user.username}
            _changed(user, "signed_up", user, after=after, request=request)
    except IntegrityError:
        raise taken() from None
    return user


def log_in(request: HttpRequest, username: str, password: str) -> Tokens:
    """Begin a session; the limits on attempts stand in `authenticate`.

    Raises AccountError INVALID_CREDENTIALS, with the same words for whatever was wrong.
    """
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise AccountError("INVALID_CREDENTIALS", WRONG_LOGIN)
    visit = getattr(request, "visit", None)
    with transaction.atomic():
        session = Session.objects.create(
            user=user,
            version=tokens.password_version(user),
            expires_at=timezone.now() + SESSION_LIFETIME,
            address=str(visit.address) if visit else None,
            user_agent=visit.user_agent[:512] if visit else "",
        )
        issued = _issue(session)
    user_logged_in.send(sender=User, request=request, user=user)
    return issued


def refresh(token: str, request: HttpRequest | None = None) -> Tokens:
    """Exchange a refresh token for new tokens; it is good once.

    A second use means that somebody else has it, so it ends the session for both. Raises
    AccountError INVALID_TOKEN.
    """
    now = timezone.now()
    found = RefreshToken.objects.select_related("session__user").filter(
        digest=tokens.digest(token), expires_at__gt=now
    )
    row = found.first()
    if row is None or not Session.objects.live().filter(pk=row.session_id).exists():
        raise invalid_token()
    if not tokens.is_bound(row.session):
        raise invalid_token()
    with transaction.atomic():
        first_use = RefreshToken.objects.filter(pk=row.pk, used_at=None).update(used_at=now)
        if first_use:
            Session.objects.filter(pk=row.session_id).update(last_used_at=now)
            return _issue(row.session)
    end(row.session, "reused", None, request)
    raise invalid_token()


def log_out(session: Session, request: HttpRequest | None = None) -> int:
    """End one session; return how many were ended (0 when it was over already)."""
    return end(session, "logged_out", session.user, request)


def log_out_everywhere(user: User, request: HttpRequest | None = None) -> int:
    """End all sessions of an account; return how many were ended."""
    live = Session.objects.live().filter(user=user)
    return sum(end(session, "logged_out", user, request) for session in live)


def end(
    session: Session, reason: str, actor: User | None, request: HttpRequest | None = None
) -> int:
    """End a session, at once in every process: each request looks at the row."""
    ended = Session.objects.filter(pk=session.pk, ended_at=None).update(
        ended_at=timezone.now(), end_reason=reason
    )
    if ended:
        before: dict[str, object] = {"session": str(session.pk)}
        _changed(actor, f"session_{reason}", session.user, before=before, request=request)
    return ended


def change_password(request: HttpRequest, user: User, old: str, new: str) -> None:
    """Change a password; every token and browser session of the account ends with the old one.

    Raises AccountError INVALID_CREDENTIALS or WEAK_PASSWORD.
    """
    known = authenticate(request, username=user.get_username(), password=old)
    if known is None or known.pk != user.pk:
        raise AccountError("INVALID_CREDENTIALS", "The present password is wrong.", "oldPassword")
    _check_password(new, user, "newPassword")
    with transaction.atomic():
        user.set_password(new)
        user.save(update_fields=["password"])
        _changed(user, "password_changed", user, request=request)


def deactivate(
    actor: User, user: User, reason: str = "", request: HttpRequest | None = None
) -> None:
    """Take an account its access, at once.

    Raises AccountError PROTECTED_TARGET for the last superuser, and for any when the actor is none.
    """
    target = User.objects.get(pk=user.pk)
    if target.is_superuser and not actor.is_superuser:
        raise AccountError("PROTECTED_TARGET", "Only a superuser deactivates a superuser.", "id")
    if not target.is_active:
        return
    before: dict[str, object] = {"is_active": True}
    after: dict[str, object] = {"is_active": False}
    target.is_active = False
    with transaction.atomic():
        try:
            target.save(update_fields=["is_active"])
        except LastSuperuserError:
            raise AccountError("PROTECTED_TARGET", LAST_SUPERUSER, "id") from None
        _changed(actor, "deactivated", target, before, after, reason, request)


def _issue(session: Session) -> Tokens:
    refresh_token, refresh_expires_at = tokens.issue_refresh(session)
    return Tokens(session, tokens.issue_access(session), refresh_token, refresh_expires_at)


def _check_fields(user: User) -> None:
    try:
        user.clean_fields(exclude=["password", "canonical"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise AccountError("INVALID_INPUT", " ".join(messages), field) from None
    if User.objects.filter(canonical=canonical_username(user.username)).exists():
        raise taken()


def _check_password(password: str, user: User, field: str = "password") -> None:
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise AccountError("WEAK_PASSWORD", " ".join(error.messages), field) from None


def _changed(
    actor: User | None,
    action: str,
    user: User,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
    reason: str = "",
    request: HttpRequest | None = None,
) -> None:
    account_changed.send(
        sender=User,
        actor=actor,
        action=action,
        user=user,
        before=before,
        after=after,
        reason=reason,
        request=request,
    )
