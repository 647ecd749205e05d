"""Detectors: what each looks for, what follows from it, and changing that."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated

import strawberry
from django.db.models import Count
from strawberry.types import Info

from schema.errors import ErrorCode, InputError, UserError
from schema.keyset import stated
from schema.permissions import actor, require
from schema.rules import LARGEST_INT
from schema.suspicions import Severity
from tracking import detection, modes
from tracking.detectors.detector import Detector as Described
from tracking.engine.findings import Mode
from tracking.engine.findings import Severity as Degree
from tracking.models import DetectorMode as ModeRow
from tracking.models import SuspiciousIP

PERMISSION = "tracking.view_detectionrun"
RUN = "tracking.run_detection"


@strawberry.enum(description="What follows from a finding.")
class DetectorMode(enum.Enum):
    OFF = strawberry.enum_value(Mode.OFF.value, description="Nothing.")
    OBSERVE = strawberry.enum_value(
        Mode.OBSERVE.value,
        description="A rule that refuses nobody, and counts whom it would have refused.",
    )
    SUGGEST = strawberry.enum_value(
        Mode.SUGGEST.value, description="A person decides whether the target is blocked."
    )
    ENFORCE = strawberry.enum_value(Mode.ENFORCE.value, description="A block that expires.")


@strawberry.type(description="A number that a detector goes by.")
class Threshold:
    name: str = strawberry.field(description="Its name, as in the detector's description.")
    value: int = strawberry.field(description="The number; times are in seconds.")


@strawberry.type(description="What follows from findings of one severity.")
class SeverityMode:
    severity: Severity = strawberry.field(description="Of this severity.")
    mode: DetectorMode = strawberry.field(description="What follows.")


@strawberry.type(description="What a person has set a detector to; it wins over the settings.")
class ModeChange:
    mode: DetectorMode = strawberry.field(description="What follows, whatever the severity.")
    changed_by: str = strawberry.field(description="Who set it, by the name at the time.")
    changed_at: datetime = strawberry.field(description="When.")

    @classmethod
    def of(cls, row: ModeRow) -> ModeChange:
        return cls(
            mode=DetectorMode(row.mode), changed_by=row.changed_by, changed_at=row.changed_at
        )


@strawberry.type(description="A question that is put to the record again and again.")
class Detector:
    name: str = strawberry.field(description="What it is called.")
    description: str = strawberry.field(description="What it looks for, by its thresholds.")
    thresholds: list[Threshold] = strawberry.field(
        description="The numbers it goes by, as the settings say."
    )
    modes: list[SeverityMode] = strawberry.field(
        description="What follows from its findings now, by severity."
    )
    change: ModeChange | None = strawberry.field(
        description="What a person has set it to; null where the settings decide."
    )
    open_suspicions: int = strawberry.field(
        description="How many of its suspicions nobody has decided about yet."
    )


@strawberry.input(description="What is to follow from a detector's findings.")
class SetDetectorModeInput:
    detector: str = strawberry.field(description="The name of the detector.")
    mode: DetectorMode | None = strawberry.field(
        default=strawberry.UNSET,
        description="What follows from now on, whatever the severity; left out or null: what the"
        " settings say.",
    )
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of setDetectorMode.")
class SetDetectorModePayload:
    detector: Detector | None = strawberry.field(
        default=None, description="The detector as it is now; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was changed.")


@strawberry.type
class DetectorQueries:
    @strawberry.field(
        description="The detectors, and what follows from their findings. Needs the permission"
        f" {PERMISSION}."
    )
    def detectors(self, info: Info) -> list[Detector] | None:
        require(info, PERMISSION)
        return _detectors()


@strawberry.type
class DetectorMutations:
    @strawberry.mutation(
        description="Set what follows from a detector's findings, from the next run on, or leave it"
        f" to the settings again. Needs the permission {RUN}."
    )
    def set_detector_mode(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            SetDetectorModeInput, strawberry.argument(description="What is to follow.")
        ],
    ) -> SetDetectorModePayload | None:
        require(info, RUN)
        asked = stated(input.mode)
        mode = None if asked is None else Mode[asked.name]
        try:
            modes.set_mode(actor(info), input.detector, mode, input.reason)
        except modes.UnknownDetectorError as error:
            return SetDetectorModePayload(errors=[unknown(error)])
        (changed,) = (each for each in _detectors() if each.name == input.detector)
        return SetDetectorModePayload(detector=changed, errors=[])


def unknown(error: modes.UnknownDetectorError) -> InputError:
    """Return that the input names no detector."""
    return InputError(code=ErrorCode.INVALID_INPUT, message=str(error), path=["input", "detector"])


def _detectors() -> list[Detector]:
    changes = {row.detector: row for row in ModeRow.objects.all()}
    rows = SuspiciousIP.objects.filter(status=SuspiciousIP.Status.OPEN).values_list("detector")
    open_ = dict(rows.annotate(number=Count("pk")).order_by())
    return [
        _shown(each, changes.get(each.name), open_.get(each.name, 0))
        for each in detection.detectors()
    ]


def _shown(detector: Described, change: ModeRow | None, open_: int) -> Detector:
    return Detector(
        name=detector.name,
        description=detector.description,
        thresholds=[
            Threshold(name=name, value=value) for name, value in detector.thresholds.items()
        ],
        modes=[
            SeverityMode(severity=Severity(each), mode=DetectorMode(detector.modes[each]))
            for each in Degree
        ],
        change=None if change is None else ModeChange.of(change),
        open_suspicions=min(open_, LARGEST_INT),
    )
