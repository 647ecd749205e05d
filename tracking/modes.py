"""What people set detectors to while the service runs: it wins over the settings."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from tracking import audit
from tracking.audit import Actor
from tracking.detectors import DETECTORS
from tracking.engine.address import shown
from tracking.engine.findings import Mode
from tracking.engine.text import printable
from tracking.models import DetectorMode

ACTION = "set_detector_mode"


class UnknownDetectorError(ValueError):
    """There is no detector of this name; the message names those there are."""


def check_name(name: str) -> str:
    """Return the name of a detector. Raises UnknownDetectorError."""
    names = [detector.name for detector in DETECTORS]
    if name not in names:
        raise UnknownDetectorError(
            f"There is no detector {shown(name)}: write one of {', '.join(names)}."
        )
    return name


def set_mode(actor: Actor, name: str, mode: Mode | None, reason: str = "") -> DetectorMode | None:
    """Let a detector do this from the next run on, whatever the severity; return what is in force.

    None leaves it to the settings again. What is so already is not written again.
    Raises UnknownDetectorError.
    """
    check_name(name)
    with transaction.atomic():
        row = DetectorMode.objects.select_for_update().filter(detector=name).first()
        before = row.mode if row is not None else None
        if before == mode:
            return row
        if mode is None:
            DetectorMode.objects.filter(detector=name).delete()
            row = None
        else:
            values = {
                "mode": mode,
                "changed_by": printable(actor.name, 255),
                "changed_at": timezone.now(),
            }
            row, _ = DetectorMode.objects.update_or_create(detector=name, defaults=values)
        audit.record(
            actor, ACTION, name, reason=reason, before={"mode": before}, after={"mode": mode}
        )
        return row
