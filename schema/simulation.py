"""Trying a detector on the record: what it would have found and blocked with other thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.budget import within_budget
from schema.detectors import RUN, DetectorMode, unknown
from schema.errors import ErrorCode, InputError, UserError
from schema.keyset import stated
from schema.permissions import require
from schema.requests import PERMISSION as SEE_REQUESTS
from schema.rules import LARGEST_INT
from schema.scalars import IPNetwork
from schema.suspicions import Severity
from tracking import backtest, detection
from tracking.backtest import Hour, Suspect
from tracking.detectors.detector import LARGEST
from tracking.engine.address import shown
from tracking.modes import UnknownDetectorError, check_name

MOST_TARGETS = 100
MOST_USERS = 20
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)  # detectors look back a little further
NARROW = "ask for a shorter time, or ask `manage.py backtest`, which may take longer"


@strawberry.input(description="A number that a detector is to go by.")
class ThresholdInput:
    name: str = strawberry.field(description="The name of the threshold.")
    value: int = strawberry.field(description=f"1 to {LARGEST}; times are in seconds.")


@strawberry.input(description="What to try, and on which requests.")
class SimulateDetectorInput:
    detector: str = strawberry.field(description="The name of the detector.")
    thresholds: list[ThresholdInput] = strawberry.field(
        default_factory=list, description="Those that are to be others than now."
    )
    mode: DetectorMode | None = strawberry.field(
        default=strawberry.UNSET,
        description="What is to follow, whatever the severity; left out or null: what does now.",
    )
    since: datetime = strawberry.field(description="From this moment on.")
    until: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"Before this moment, at most {backtest.LONGEST.days} days later; left out or"
        " null: until now.",
    )


@strawberry.type(description="What would have been in one hour of the clock.")
class SimulatedHour:
    start: datetime = strawberry.field(description="Where it begins.")
    flagged: int = strawberry.field(description="Of how many targets something would be found.")
    blocked: int = strawberry.field(description="How many blocks would begin.")
    user_count: int = strawberry.field(
        description="How many signed-in users would have been refused."
    )
    users: list[str] = strawberry.field(description=f"Who they are, at most {MOST_USERS}.")

    @classmethod
    def of(cls, hour: Hour) -> SimulatedHour:
        return cls(
            start=hour.start,
            flagged=hour.flagged,
            blocked=hour.blocked,
            user_count=len(hour.users),
            users=list(hour.users[:MOST_USERS]),
        )


@strawberry.type(description="What would have been of one address or network.")
class SimulatedTarget:
    address: IPNetwork = strawberry.field(description="The address or network.")
    severity: Severity = strawberry.field(description="How bad the worst of it is.")
    count: int = strawberry.field(
        description="The most it counted in one window; 2147483647 stands for that or more."
    )
    first: datetime = strawberry.field(description="When the first of it began.")
    would_block: bool = strawberry.field(description="Whether it would have been blocked.")
    because: str = strawberry.field(description="Why not; empty where it would.")
    user_count: int = strawberry.field(
        description="How many signed-in users made requests from there."
    )
    users: list[str] = strawberry.field(description=f"Who they are, at most {MOST_USERS}.")

    @classmethod
    def of(cls, suspect: Suspect) -> SimulatedTarget:
        return cls(
            address=IPNetwork(suspect.target),
            severity=Severity(suspect.severity),
            count=min(suspect.count, LARGEST_INT),
            first=suspect.first,
            would_block=suspect.would_block,
            because=suspect.because,
            user_count=len(suspect.users),
            users=list(suspect.users[:MOST_USERS]),
        )


@strawberry.type(description="What came of simulateDetector.")
class SimulateDetectorPayload:
    hours: list[SimulatedHour] = strawberry.field(
        default_factory=list, description="What would have been, hour by hour, the oldest first."
    )
    targets: list[SimulatedTarget] = strawberry.field(
        default_factory=list,
        description=f"Of whom something would be found, at most {MOST_TARGETS}: those that would be"
        " blocked first, then the worst.",
    )
    target_count: int | None = strawberry.field(
        default=None, description="How many these are in all; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was tried.")


@strawberry.type
class SimulationMutations:
    @strawberry.mutation(
        description="Try a detector on the record with other thresholds; nothing is changed. Names"
        f" users, so it needs the permission {SEE_REQUESTS} besides {RUN}."
    )
    def simulate_detector(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            SimulateDetectorInput, strawberry.argument(description="What to try.")
        ],
    ) -> SimulateDetectorPayload | None:
        require(info, RUN)
        require(info, SEE_REQUESTS)
        end = min(stated(input.until) or timezone.now(), timezone.now())
        wrong = _mistake(input, end)
        if wrong is not None:
            return SimulateDetectorPayload(errors=[wrong])
        changes: dict[str, object] = {each.name: each.value for each in input.thresholds}
        if (mode := stated(input.mode)) is not None:
            changes["mode"] = mode.name
        return _tried(info, input.detector, changes, input.since, end)


def _mistake(asked: SimulateDetectorInput, end: datetime) -> InputError | None:
    try:
        check_name(asked.detector)
    except UnknownDetectorError as error:
        return unknown(error)
    known = next(each for each in detection.detectors() if each.name == asked.detector).thresholds
    names = [each.name for each in asked.thresholds]
    for each in asked.thresholds:
        if each.name not in known:
            of = ", ".join(known)
            return _wrong("thresholds", f"There is no threshold {shown(each.name)}, only {of}.")
        if names.count(each.name) > 1 or not 0 < each.value <= LARGEST:
            return _wrong("thresholds", f"{each.name}: write it once, as a number above 0.")
    if asked.since < EARLIEST:
        return _wrong("since", "Write a time after 1970.")
    if not asked.since < end <= asked.since + backtest.LONGEST:
        days = backtest.LONGEST.days
        return _wrong(
            "since", f"Write a time that is past, and at most {days} days before `until`."
        )
    return None


def _tried(
    info: Info, name: str, changes: Mapping[str, object], start: datetime, end: datetime
) -> SimulateDetectorPayload:
    with within_budget(info, NARROW):
        found = backtest.simulate([name], {name: changes}, start, end)
    targets = sorted(
        found.targets, key=lambda one: (not one.would_block, -one.severity.rank, -one.count)
    )
    return SimulateDetectorPayload(
        hours=[SimulatedHour.of(hour) for hour in found.hours],
        targets=[SimulatedTarget.of(each) for each in targets[:MOST_TARGETS]],
        target_count=len(targets),
        errors=[],
    )


def _wrong(argument: str, message: str) -> InputError:
    return InputError(code=ErrorCode.INVALID_INPUT, message=message, path=["input", argument])
