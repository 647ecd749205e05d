"""Settings under which accounts would not be safe, refused at start: each has an id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from users import keys, tokens

JWT_BACKEND = "graphql_jwt.backends.JSONWebTokenBackend"
JWT_REFRESH_APP = "graphql_jwt.refresh_token"
HANDLERS = {
    "JWT_PAYLOAD_HANDLER": "users.tokens.no_payload",
    "JWT_ENCODE_HANDLER": "users.tokens.encode",
    "JWT_DECODE_HANDLER": "users.tokens.decode",
}
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
BEARER = "users.middleware.BearerMiddleware"
OLDEST = {"django-graphql-jwt": (0, 4), "graphene": (3, 4)}


@register()
def accounts_are_safe(**_: Any) -> list[CheckMessage]:
    return [*_package_defaults(), *_versions(), *_middleware(), *_keys()]


def _package_defaults() -> Iterable[CheckMessage]:
    """What django-graphql-jwt brings along, and is not safe."""
    if JWT_BACKEND in settings.AUTHENTICATION_BACKENDS:
        yield Error(
            f"Take {JWT_BACKEND} out of AUTHENTICATION_BACKENDS: with it a token logs in to the"
            " admin, whatever the password.",
            id="users.E001",
        )
    if apps.is_installed(JWT_REFRESH_APP):
        yield Error(
            f"Take {JWT_REFRESH_APP} out of INSTALLED_APPS: it keeps refresh tokens in clear text.",
            id="users.E002",
        )
    given = getattr(settings, "GRAPHQL_JWT", {})
    if any(given.get(name) != path for name, path in HANDLERS.items()):
        yield Error(
            f"Set GRAPHQL_JWT = {HANDLERS}: the handlers of django-graphql-jwt itself accept"
            " expired tokens, and never take one back.",
            id="users.E003",
        )


def _versions() -> Iterable[CheckMessage]:
    if any(_version(name) < oldest for name, oldest in OLDEST.items()):
        yield Error(tokens.PACKAGES, id="users.E004")


def _version(package: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, re.findall(r"\d+", metadata.version(package))[:2]))
    except metadata.PackageNotFoundError:
        return ()


def _middleware() -> Iterable[CheckMessage]:
    middleware = list(settings.MIDDLEWARE)
    if BEARER not in middleware or AUTHENTICATION in middleware[middleware.index(BEARER) :]:
        yield Error(
            f"Put {BEARER} behind {AUTHENTICATION} in MIDDLEWARE: without it no token is looked"
            " at, and before it cookies count where a token was sent.",
            id="users.E005",
        )


def _keys() -> Iterable[CheckMessage]:
    try:
        found = keys.signing_keys()
    except (OSError, ValueError) as error:
        yield Error(f"The keys of access tokens cannot be used: {error}.", id="users.E006")
    else:
        if any(key.secret == settings.SECRET_KEY for key in found):
            yield Error(
                "Sign access tokens with a key of their own: JWT_SIGNING_KEYS holds SECRET_KEY.",
                id="users.E007",
            )
