"""Misconfiguration, told at start: every check has an id and says what to do.

Errors of the TRACKING_* settings have the ids that stand in `tracking.conf.SETTINGS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.utils import timezone

from tracking import backlog, conf, modes, peers
from tracking.detectors import DETECTORS
from tracking.detectors.detector import changed

VISIT_MIDDLEWARE = "tracking.middleware.VisitMiddleware"
LIMIT_MIDDLEWARE = "tracking.middleware.LimitMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
LIMIT_BACKEND = "tracking.backends.AttemptLimitBackend"
LOGIN_LIMITS = {"login_address", "login_account"}
VENDORS = {"sqlite", "postgresql"}


@register()
def settings_are_usable(**_: Any) -> list[CheckMessage]:
    wrong: list[CheckMessage] = [Error(text, id=check_id) for check_id, text in conf.problems()]
    return wrong or [*_consequences(), *_unlimited(), *_undetected()]


@register(Tags.database)
def sqlite_lets_readers_go_on(
    databases: Iterable[str] | None = None, **_: Any
) -> list[CheckMessage]:
    if not databases or connection.vendor != "sqlite" or _is_write_ahead():
        return []
    return [
        checks.Warning(
            'SQLite makes readers wait for writers here: add "init_command":'
            ' "PRAGMA journal_mode=WAL;" to the OPTIONS of the database.',
            id="tracking.W003",
        )
    ]


@register(Tags.database)
def detection_keeps_up(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    try:
        is_late = bool(databases) and backlog.of(timezone.now()).is_late
    except DatabaseError:  # no table yet
        is_late = False
    if not is_late:
        return []
    return [
        checks.Warning(
            "Nobody has looked for suspicious addresses in what came into the record lately: start"
            " the Huey worker (`manage.py run_huey`), or let cron run `manage.py detect`.",
            id="tracking.W010",
        )
    ]


@register(Tags.database)
def proxies_are_declared(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    try:
        wrong = peers.problem(timezone.now()) if databases else ""
    except (DatabaseError, ImproperlyConfigured):  # no table yet, or told by another check
        wrong = ""
    return [checks.Warning(wrong, id="tracking.W009")] if wrong else []


@register(Tags.security, deploy=True)
def state_is_private(**_: Any) -> list[CheckMessage]:
    folder = None if any(conf.problems()) else conf.current().state_dir
    if folder is None or not folder.is_dir() or not folder.stat().st_mode & 0o077:
        return []
    return [
        checks.Warning(
            f"Others can look into {folder}, where the journal names who asked for what: make it"
            " mode 0700 (chmod go= and its name).",
            id="tracking.W050",
        )
    ]


def _consequences() -> Iterable[CheckMessage]:
    """What the settings, each usable by itself, mean together."""
    configuration = conf.current()
    if not settings.USE_TZ:
        yield Error("Set USE_TZ = True: the record keeps its times in UTC.", id="tracking.E020")
    if connection.vendor not in VENDORS:
        yield Error(
            f"The record cannot be kept in {connection.display_name}: use PostgreSQL, or SQLite"
            " on a small site.",
            id="tracking.E021",
        )
    if os.path.lexists(configuration.state_dir) and not os.access(configuration.state_dir, os.W_OK):
        yield Error(
            f"TRACKING_STATE_DIR: {configuration.state_dir} cannot be written by this user.",
            id="tracking.E022",
        )
    if VISIT_MIDDLEWARE not in settings.MIDDLEWARE:
        yield checks.Warning(
            f"Nothing is recorded: put {VISIT_MIDDLEWARE} first in MIDDLEWARE.", id="tracking.W001"
        )
    if not configuration.background_thread:
        yield checks.Warning(
            "TRACKING_BACKGROUND_THREAD is off: run `manage.py drain` every few seconds, or the"
            " Huey worker, or records never reach the database.",
            id="tracking.W002",
        )
    if not configuration.enforces:
        yield checks.Warning(
            "Nothing is refused: set TRACKING_ENFORCEMENT to enforce once what would be refused is"
            " what should be.",
            id="tracking.W008",
        )
    if any(network.prefixlen == 0 for network in configuration.trusted_proxies):
        yield checks.Warning(
            "TRACKING_TRUSTED_PROXIES trusts everybody: anyone can then claim any address.",
            id="tracking.W004",
        )


def _unlimited() -> Iterable[CheckMessage]:
    """What the limits do not reach."""
    limited = {name: limit for name, limit in conf.current().limits.items() if limit.is_on}
    by_path = ", ".join(name for name, limit in limited.items() if limit.paths)
    middleware = list(settings.MIDDLEWARE)
    if LIMIT_MIDDLEWARE in middleware:
        if AUTHENTICATION in middleware[middleware.index(LIMIT_MIDDLEWARE) :]:
            yield checks.Warning(
                f"Limits take users for strangers: put {LIMIT_MIDDLEWARE} behind {AUTHENTICATION}.",
                id="tracking.W006",
            )
    elif by_path:
        yield checks.Warning(
            f"Nothing is limited by its path: put {LIMIT_MIDDLEWARE} behind {AUTHENTICATION} in"
            f" MIDDLEWARE, or turn off in TRACKING_LIMITS: {by_path}.",
            id="tracking.W005",
        )
    by_login = ", ".join(name for name in limited if name in LOGIN_LIMITS)
    if by_login and apps.is_installed("django.contrib.auth") and not _asks_first():
        yield checks.Warning(
            f"Attempts to log in are not limited: put {LIMIT_BACKEND} first in"
            f" AUTHENTICATION_BACKENDS, or turn off in TRACKING_LIMITS: {by_login}.",
            id="tracking.W007",
        )


def _undetected() -> Iterable[CheckMessage]:
    """What detection cannot use, and does not see."""
    configuration = conf.current()
    known = {detector.name: detector for detector in DETECTORS}
    for name, change in configuration.detectors.items():
        try:
            changed(known[modes.check_name(name)], change)
        except ValueError as error:
            yield Error(f"TRACKING_DETECTORS: {str(error).rstrip('.')}.", id="tracking.E035")
    if not configuration.signatures:
        yield checks.Warning(
            "TRACKING_SIGNATURES is off: attacks are not recognised. The detectors signatures and"
            " swarm find nothing, and probing only TRACKING_SENSITIVE_PATHS and _FIELDS.",
            id="tracking.W011",
        )


def _asks_first() -> bool:
    return list(settings.AUTHENTICATION_BACKENDS)[:1] == [LIMIT_BACKEND]


def _is_write_ahead() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            return cursor.fetchone()[0] in {"wal", "memory"}
    except DatabaseError:
        return True
