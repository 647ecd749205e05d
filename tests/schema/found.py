"""Suspicions to ask about, and requests that make detection find some."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from tests.schema.record import NOON, record, row
from tracking.engine.address import parse_network
from tracking.models import SuspiciousIP


def suspicion(target: str = "198.51.100.7", at: datetime = NOON, **columns: Any) -> SuspiciousIP:
    network = parse_network(target)
    facts: dict[str, Any] = {
        "first": str(network[0]),
        "prefix": network.prefixlen,
        "detector": "probing",
        "reason": "3 sensitive paths, such as /.env",
        "severity": "HIGH",
        "count": 3,
        "threshold": 2,
        "window_start": at - timedelta(minutes=1),
        "window_end": at,
        "first_seen": at - timedelta(minutes=5),
        "last_seen": at,
    }
    return SuspiciousIP.objects.create(target=target, **(facts | columns))


def suggested(target: str = "198.51.100.7", **columns: Any) -> SuspiciousIP:
    return suspicion(
        target, is_suggested=True, because="it is shared", duration=timedelta(hours=4), **columns
    )


def id_of(thing: SuspiciousIP) -> str:
    return base64.b64encode(f"SuspiciousIP:{thing.pk}".encode()).decode()


def flood(now: datetime, number: int = 700) -> None:
    """Record so many requests of one public address, the last of them at `now`."""
    record(
        *(
            row(now - timedelta(seconds=n / 2), address="8.8.4.4", counting_key="8.8.4.4")
            for n in range(number)
        )
    )
