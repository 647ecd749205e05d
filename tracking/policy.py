"""The rules in force, in the memory of this process.

The book of rules has a version, a row of its own that every change raises in its transaction; rules
carry the version of their last change. So one look at that row tells whether something is new, and
one query brings what is. While the database is away the last rules known go on deciding.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from tracking import conf
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.models import RULES_VERSION, AccessRule, Counter

logger = logging.getLogger(__name__)

VERSION = RULES_VERSION
LONGEST_WAIT = 30.0  # seconds; then requests go on with the rules as known so far
_COLUMNS = (
    "pk", "kind", "target", "action", "observed", "path", "methods", "expires_at", "ended_at",
)  # fmt: skip


def current() -> RuleSet:
    """Return the rules in force; of two calls the second may return newer ones.

    Where background threads are off, this looks for news itself. Never raises.
    """
    if not conf.current().background_thread and time.monotonic() >= _next_look:
        _look_from_a_request()
    return _rules


def look() -> None:
    """Load what is new, if the database can be asked; a failure is told once. Never raises.

    Within a transaction this does nothing: what is not committed is not in force, and may never be.
    """
    global _failing, _next_look
    interval = 1.0
    try:
        interval = conf.current().drain_interval
        if _version >= 0:  # others go on with what is known; at first they wait
            _next_look = time.monotonic() + interval
        if not connection.in_atomic_block:
            refresh()
    except Exception as error:  # noqa: BLE001 - whatever it is, the last rules known go on deciding
        if not _failing:
            logger.error("The rules are as old as they are, since no news can be read: %s", error)
        _failing = True
    else:
        _failing = False
    finally:
        _next_look = time.monotonic() + interval


def refresh() -> None:
    """Bring the rules up to date with the database. Raises DatabaseError."""
    global _rules, _version
    with _lock:
        version = Counter.objects.filter(name=VERSION).values_list("value", flat=True).first() or 0
        if version == _version:
            return
        if _version < 0 or version < _version:  # nothing is known yet, or a backup was restored
            _rules = _read()
        else:
            _follow(_version)
        _version = version


@contextmanager
def changing() -> Iterator[int]:
    """Lock the book and yield its new version; what is changed is in force here at the end."""
    with transaction.atomic():
        counter = Counter.objects.filter(name=VERSION)
        if not counter.update(value=F("value") + 1, updated_at=Now()):
            Counter.objects.get_or_create(name=VERSION)
            counter.update(value=F("value") + 1, updated_at=Now())
        # Robust: what cannot be looked at here is nevertheless committed.
        transaction.on_commit(look, robust=True)
        yield counter.values_list("value", flat=True).get()


def version() -> int:
    """Return the version of the rules in force here, -1 before they are loaded."""
    return _version


def load() -> None:
    """Load what is new on a connection of its own, and wait for it. Never raises.

    Until the watch of a process runs, this is how it learns of what has changed.
    """
    loader = threading.Thread(target=_load_apart, name="tracking-rules", daemon=True)
    loader.start()
    loader.join(LONGEST_WAIT)


def forget() -> None:
    """Begin anew without rules, as in a process that has just started."""
    global _rules, _version, _next_look
    _rules = _empty()
    _version = -1
    _next_look = 0.0


def _load_apart() -> None:
    look()
    connection.close()


def _look_from_a_request() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        look()
    else:
        load()  # Django asks no database in the thread of an event loop


def _empty() -> RuleSet:
    return RuleSet(unknown_is_any=conf.current().unknown_country == "any")


def _read() -> RuleSet:
    rules = _empty()
    live = AccessRule.objects.live(timezone.now()).values_list(*_COLUMNS)
    rules.put_all(
        (kind, target, _rule(number, *rest))
        for number, kind, target, *rest, _ in live.iterator(10_000)
    )
    return rules


def _follow(since: int) -> None:
    changed = AccessRule.objects.filter(version__gt=since).order_by("version", "pk")
    now = timezone.now()
    put = []
    for number, kind, target, *rest, ended_at in changed.values_list(*_COLUMNS).iterator(10_000):
        rule = _rule(number, *rest)
        if ended_at is None and rule.is_live(now):
            put.append((kind, target, rule))
        else:
            _rules.drop(kind, target, number)
    _rules.put_all(put)


def _rule(
    number: int,
    action: str,
    observed: bool,
    path: str,
    methods: tuple[str, ...],
    expires_at: datetime | None,
) -> Rule:
    return Rule(number, RuleAction(action), observed, expires_at, path, methods)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # in a forked child nobody would release the inherited one


_rules = RuleSet()
_version = -1
_next_look = 0.0  # on the monotonic clock
_failing = False
_lock = threading.Lock()
os.register_at_fork(after_in_child=_after_fork)
