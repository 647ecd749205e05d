"""What accounts and sessions have of somebody, and how it is taken out.

An account stays: whoever deletes it (in the admin) takes its sessions with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import QuerySet

from users.models import Session, User

Lines = list[tuple[str, str, int, str]]
ACCOUNT = ("id", "username", "email", "first_name", "last_name", "date_joined", "last_login")
STATE = ("is_active", "is_staff", "is_superuser")
SESSION = (
    *("id", "created_at", "last_used_at", "expires_at", "ended_at", "end_reason"),
    *("address", "user_agent"),
)


def of_user(pk: str) -> dict[str, list[dict[str, Any]]]:
    """Return an account and its sessions, without password and tokens; nothing of nobody."""
    accounts = _account(pk)
    facts = [dict(row) for row in accounts.values(*ACCOUNT, *STATE)]
    for account, user in zip(facts, accounts, strict=True):
        account["groups"] = sorted(user.groups.values_list("name", flat=True))
    sessions = Session.objects.filter(user__in=accounts)
    return {"User": facts, "Session": [dict(row) for row in sessions.values(*SESSION)]}


def at_addresses(is_meant: Callable[[str], bool]) -> dict[str, list[dict[str, Any]]]:
    """Return the sessions that were begun at addresses, with the names of their accounts."""
    rows = [_facts(row) for row in _begun_at(is_meant)]
    return {"Session": rows}


def forget_user(pk: str, *, dry_run: bool) -> Lines:
    """Delete the sessions of an account that are over, and empty address and agent of the others.

    Nobody is logged out.
    """
    sessions = Session.objects.filter(user__in=_account(pk))
    over = sessions.filter(ended_at__isnull=False)
    rest = sessions.filter(ended_at=None).exclude(address=None, user_agent="")
    accounts = _account(pk).count()
    lines = [
        ("Session", "deleted", over.count(), ""),
        ("Session", "redacted", rest.count(), ""),
        ("User", "kept", accounts, "delete the account in the admin if it is to go, after this"),
    ]
    if not dry_run:
        over.delete()
        rest.update(address=None, user_agent="")
    return lines


def forget_addresses(is_meant: Callable[[str], bool], *, dry_run: bool) -> Lines:
    """Empty address and agent of the sessions that were begun at addresses."""
    numbers = [row.pk for row in _begun_at(is_meant)]
    if not dry_run:
        for number in numbers:
            Session.objects.filter(pk=number).update(address=None, user_agent="")
    return [("Session", "redacted", len(numbers), "")]


def _account(pk: str) -> QuerySet[User]:
    return User.objects.filter(pk__in=[pk] if pk else [])


def _begun_at(is_meant: Callable[[str], bool]) -> Iterator[Session]:
    # A column of this kind has no order of networks on every database.
    rows = Session.objects.exclude(address=None).select_related("user")
    return (row for row in rows if row.address is not None and is_meant(row.address))


def _facts(row: Session) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SESSION} | {"user": row.user.get_username()}
