"""The settings in force, and what Django's checks and ours say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks

from project.doctor.findings import Finding, Level, ok
from project.settings import env

HIDDEN = "***"
_SECRET = re.compile(r"KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL")


def in_force() -> dict[str, str]:
    """Return each environment variable with the value in force, and without secrets.

    Empty is what has no value of its own by default; .env_template says what that means.
    """
    read = env.dump().items()
    return {name: shown(name, value or getattr(settings, name, value)) for name, value in read}


def shown(name: str, value: object) -> str:
    """Return a variable's value for people: of a secret at most what tells which one it is."""
    texts = [str(text) for text in (value if isinstance(value, list) else [value])]
    if name == "JWT_SIGNING_KEYS":
        texts = [f"{text.partition(':')[0]}:{HIDDEN}" for text in texts]
    elif name == "ALERT_WEBHOOKS":  # the path of a chat's webhook is its password
        texts = [f"{urlsplit(text.split()[0]).hostname}/{HIDDEN}" for text in texts]
    elif _SECRET.search(name) and not name.endswith("_FILE"):
        texts = [HIDDEN for text in texts if text]
    return ", ".join(_without_password(text) for text in texts)


def look_at_checks() -> Iterator[Finding]:
    """Say what `manage.py check --deploy` says, with DEBUG what `manage.py check` does."""
    messages = checks.run_checks(include_deployment_checks=not settings.DEBUG)
    told = [message for message in messages if not message.is_silenced()]
    for message in told:
        level = Level.ERROR if message.is_serious() else Level.WARNING
        remedy = (
            message.hint or "The sentence says it; docs/settings.md has our ids, Django its own."
        )
        yield Finding(level, f"{message.id}: {' '.join(message.msg.split())}", remedy)
    if not told:
        yield ok("Django's checks and ours find nothing.")
    if settings.DEBUG:
        yield ok("DEBUG is on: the checks for production (check --deploy) were left out.")


def _without_password(text: str) -> str:
    """Return a URL without its password and its query, which may hold one too."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    rest, question, _ = rest.partition("?")
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    password = f"{colon}{HIDDEN}" if colon else ""
    return f"{scheme}://{user}{password}{at}{place}{question and question + HIDDEN}"
