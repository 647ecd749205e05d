"""Moments on the command line: "2026-11-22", "2026-11-22T10:30", or how long ago: "24h"."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

from django.utils import timezone

from tracking.engine.address import shown
from tracking.engine.ruletext import read_duration


def moment(text: str) -> datetime:
    """Return the moment that a text means; a time without a zone is UTC.

    Raises ArgumentTypeError.
    """
    try:
        ago = read_duration(text)
        if ago is not None:
            return timezone.now() - ago
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{shown(text)} is no moment: write it like 2026-11-22T10:30, which is UTC, or 24h ago"
            " as 24h"
        ) from None
