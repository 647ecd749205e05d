"""What the service's settings mean together, told at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's name


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
