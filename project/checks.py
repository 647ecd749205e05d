"""What the service's settings mean together, told at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's name


@register()
def limits_hold_for_all_workers(**_: Any) -> list[CheckMessage]:
    if settings.WEB_WORKERS == 1 or settings.TRACKING_REDIS_URL:
        return []
    return [
        Warning(
            f"Each of {settings.WEB_WORKERS} web workers counts limits for itself, so that up to"
            f" {settings.WEB_WORKERS} times as much may pass: set REDIS_URL, or WEB_WORKERS=1.",
            id="project.W001",
        )
    ]


@register(Tags.security, deploy=True)
def redirects_to_https_end(**_: Any) -> list[CheckMessage]:
    trusted = settings.TRACKING_TRUSTED_PROXIES or settings.TRACKING_TRUSTED_UNIX_SOCKET
    if trusted or not settings.SECURE_SSL_REDIRECT:
        return []
    return [
        Warning(
            "SECURE_SSL_REDIRECT sends every request to HTTPS for ever, since nobody is believed"
            " that it came by HTTPS: name the proxy that speaks it in TRUSTED_PROXIES.",
            id="project.W002",
        )
    ]


@register(Tags.security, deploy=True)
def first_password_is_put_away(**_: Any) -> list[CheckMessage]:
    file = settings.STATE_DIR / "initial-password"
    if not file.exists():
        return []
    return [
        Warning(
            f"The first administrator's password stands in {file}: change it in the admin, and"
            " delete the file.",
            id="project.W003",
        )
    ]
