"""Paths and GraphQL fields that hardly any visitor asks for: marked as they are recorded.

A mark costs nothing to find again, where to look for the beginnings of paths in a long record
would take a look at each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

SENSITIVE_PATH = "sensitive_path"
SENSITIVE_FIELD = "sensitive_field"

# Beginnings of normal paths (see tracking.engine.text), without the last slash.
PATHS = (
    "/admin", "/administrator", "/login", "/user/login", "/api/login", "/wp-login.php", "/wp-admin",
    "/xmlrpc.php", "/phpmyadmin", "/pma", "/manager/html", "/actuator", "/console",
    "/server-status", "/.env", "/.git", "/.aws", "/.svn", "/backup", "/config", "/setup",
    "/install", "/debug", "/cgi-bin",
)  # fmt: skip
# Fields of this service's schema that only its operators ask for.
FIELDS = (
    "__schema", "accessRules", "auditLog", "blockedIps", "blockIp", "blockIps", "deactivateUser",
    "detectionRuns", "explain", "loginAttempts", "requestLogs", "requestStats", "suspiciousIps",
    "unblockIp", "unblockIps", "users",
)  # fmt: skip


def sensitive_tags(
    path: str, operations: Iterable[str], paths: tuple[str, ...], fields: tuple[str, ...]
) -> list[str]:
    """Return the tags for a normal path and the GraphQL fields that were asked for."""
    found = []
    if paths and _beginning(paths).match(path):
        found.append(SENSITIVE_PATH)
    if not set(fields).isdisjoint(operations):
        found.append(SENSITIVE_FIELD)
    return found


@lru_cache(maxsize=4)
def _beginning(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches these paths, what lies below them, and them with an extension."""
    either = "|".join(re.escape(path.lower().rstrip("/")) for path in paths)
    return re.compile(rf"(?:{either})(?:[/.~;]|$)")
