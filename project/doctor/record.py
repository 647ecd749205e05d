"""What the record says of the service itself: the worker, detection, losses, proxies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from project.doctor.findings import Finding, error, ok, warning
from tracking import health, peers, recorder
from tracking.models import Counter

LATELY = timedelta(days=7)
LOST = {
    recorder.DROPPED: ("records were lost", "disk full, or the journal above its bound"),
    recorder.DAMAGED: ("records could not be stored", "cut short, or refused by the database"),
}


def look_at_worker() -> Iterator[Finding]:
    """Say whether the worker comes, on which everything periodic hangs."""
    check = health.look_at_worker()
    if check.ok:
        yield ok(f"The Huey worker: {check.detail}.")
    else:
        yield error(
            f"The Huey worker: {check.detail}.",
            "Start it; or let cron run manage.py detect and manage.py drain each"
            " minute, which leaves out retention, alerts and places.",
        )


def look_at_detection() -> Iterator[Finding]:
    check = health.look_at_detection(timezone.now())
    told = f"Detection: {check.detail}"
    yield ok(told) if check.ok else warning(told, "Start the worker, or run manage.py detect.")


def look_at_losses() -> Iterator[Finding]:
    counters = {row.name: row for row in Counter.objects.filter(name__in=LOST)}
    for name, (what, why) in LOST.items():
        row = counters.get(name)
        if row is None or not row.value:
            yield ok(f"No {what}.")
            continue
        told = f"{row.value} {what}, last at {row.updated_at:%Y-%m-%d %H:%M} UTC ({why})."
        if timezone.now() - row.updated_at < LATELY:
            yield warning(told, "Look in the log of that time; the disk and the backlog are above.")
        else:
            yield ok(told)


def look_at_proxies() -> Iterator[Finding]:
    problem = peers.problem(timezone.now())
    if problem:
        yield warning(problem, "Set TRUSTED_PROXIES; docs/client-address.md says how.")
    else:
        yield ok("Nothing in the last hour looks like an undeclared proxy.")
