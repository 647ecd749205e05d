"""Reset what a limit has counted for one address, user or account, in every process.

A reset is an entry of the audit log. Whoever writes it also deletes the counters in Redis; counters
in the memory of other processes follow within a second, because their background threads look at
one row that holds the number of the newest such entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from tracking import audit, conf, limiter
from tracking.engine.address import AddressError, parse_address, shown
from tracking.engine.limits import Key, Limit, key_of_account, key_of_address, key_of_user
from tracking.models import AuditEntry, Counter

ACTION = "reset_limit"
NEWEST = "limits.newest_reset"
SKEW = timedelta(minutes=1)  # by which the clocks of two nodes may differ


@dataclass(frozen=True, slots=True)
class Reset:
    """What was reset: `key` names the address, user or account as it is counted."""

    limit: str
    key: str
    at: datetime


class CannotResetError(ValueError):
    """What is to be reset does not fit; `argument` is the wrong one, the message says why."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


class UnknownError(CannotResetError):
    """There is no such limit or user."""


def reset(
    actor: audit.Actor, name: str, *, address: str = "", username: str = "", reason: str = ""
) -> Reset:
    """Forget what the limit `name` has counted for an address or for a user, and say so on record.

    A limit by account is reset for the account that is logged in to by this name, whether it
    exists or not. Raises CannotResetError, and UnknownError for a limit or user there is not.
    """
    limit = conf.current().limits.get(name)
    if limit is None:
        names = ", ".join(sorted(conf.current().limits))
        raise UnknownError("limit", f"There is no limit {shown(name)}: write one of {names}.")
    key = _key(limit, address, username)
    with transaction.atomic():
        newest = Counter.objects.filter(pk=Counter.objects.get_or_create(name=NEWEST)[0].pk)
        newest.update(updated_at=Now())  # locked: entries are numbered in the order they commit
        target = f"{limit.name} {key}"
        change = {"limit": limit.name, "key": key}
        entry = audit.record(actor, ACTION, target, reason=reason, after=change)
        newest.update(value=entry.pk)
        transaction.on_commit(partial(_reset_here, entry.pk, limit, key))
    return Reset(limit.name, key, entry.at)


def refresh() -> None:
    """Follow the resets that other processes made since the last time.

    Asks the database only while this process counts in memory. Raises DatabaseError.
    """
    global _seen
    if not limiter.remembers():
        return
    newest = Counter.objects.filter(name=NEWEST).values_list("value", flat=True).first() or 0
    if newest == _seen:
        return
    entries = AuditEntry.objects.filter(
        action=ACTION, pk__gt=_seen, pk__lte=newest, at__gte=_started
    )
    for number, name, key in entries.values_list("pk", "after__limit", "after__key"):
        limit = conf.current().limits.get(name)
        if limit is not None and number not in _own:
            limiter.forget(limit, key)
        _own.discard(number)
    _seen = newest


def _reset_here(number: int, limit: Limit, key: str) -> None:
    _own.add(number)
    limiter.reset(limit, key)


def _key(limit: Limit, address: str, username: str) -> str:
    if bool(address) == bool(username):
        raise CannotResetError("address", "Write either an address or a user name.")
    if address and limit.key is Key.ACCOUNT:
        raise CannotResetError("address", f"{limit.name} counts accounts: write a user name.")
    if username and limit.key is Key.ADDRESS:
        raise CannotResetError("username", f"{limit.name} counts addresses: write an address.")
    if address:
        return _key_of_address(address)
    return key_of_account(username) if limit.key is Key.ACCOUNT else _key_of_user(username)


def _key_of_address(text: str) -> str:
    try:
        return key_of_address(parse_address(text), conf.current().ipv6_prefix)
    except AddressError as error:
        raise CannotResetError("address", f"{error}.") from None


def _key_of_user(username: str) -> str:
    users = get_user_model()
    try:
        if not username.isprintable():  # PostgreSQL cannot even be asked for some of these
            raise users.DoesNotExist
        user = users._default_manager.get_by_natural_key(username)  # noqa: SLF001
    except users.DoesNotExist:
        raise UnknownError("username", f"There is no user {shown(username)}.") from None
    return key_of_user(str(user.pk))


_started = timezone.now() - SKEW
_seen = 0
_own: set[int] = set()
