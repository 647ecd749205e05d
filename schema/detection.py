"""Detection: how far it has come, what each run did, and running it by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from django.db.models import F
from django.utils import timezone
from strawberry import relay
from strawberry.types import Info

from schema.budget import within_budget
from schema.connections import After, Before, Connection, First, Last, connect
from schema.detectors import RUN, DetectorMode
from schema.errors import AlreadyRunningError, ErrorCode, UserError
from schema.filters import DateTimeRange
from schema.ids import write_id
from schema.keyset import stated
from schema.permissions import actor, require
from schema.rules import LARGEST_INT
from schema.scalars import IPNetwork
from schema.suspicions import PERMISSION as SEE_SUSPICIONS
from schema.suspicions import Severity
from tracking import backlog, detection
from tracking.detection import AlreadyRunning, Outrun, Planned
from tracking.engine.targets import target_of_network
from tracking.models import DetectionRun as Row

PERMISSION = "tracking.view_detectionrun"
NARROW = "narrow the filter, best with `startedAt`"
MOST_PLANNED = 100


@strawberry.type(description="One look at what was new in the record, and what came of it.")
class DetectionRun(relay.Node):
    pk: relay.NodeID[int]
    _id: strawberry.ID = strawberry.field(name="id", description="The global id, for `node`.")
    started_at: datetime = strawberry.field(description="When it began.")
    duration_ms: float = strawberry.field(description="How long it took, in milliseconds.")
    trigger: str = strawberry.field(description="What it was started by; may be empty.")
    examined_from: datetime | None = strawberry.field(
        description="From when on it looked at requests; null where nothing was new."
    )
    examined_to: datetime | None = strawberry.field(
        description="Until when it looked at requests; null where nothing was new."
    )
    findings: int = strawberry.field(
        description="How many findings there were, those that were known before included."
    )
    raised: int = strawberry.field(description="How many suspicions are new.")
    blocked: int = strawberry.field(description="How many blocks it made.")
    suggested: int = strawberry.field(description="How many blocks it suggested to a person.")

    @classmethod
    def of(cls, row: Row) -> DetectionRun:
        return cls(
            pk=row.pk,
            _id=strawberry.ID(write_id("DetectionRun", row.pk)),
            started_at=row.started_at,
            duration_ms=row.duration_ms,
            trigger=row.trigger,
            examined_from=row.examined_from,
            examined_to=row.examined_to,
            findings=min(row.findings, LARGEST_INT),
            raised=min(row.raised, LARGEST_INT),
            blocked=min(row.blocked, LARGEST_INT),
            suggested=min(row.suggested, LARGEST_INT),
        )


@strawberry.input(description="Which runs: all of its fields must hold.")
class DetectionRunFilter:
    started_at: DateTimeRange | None = strawberry.field(
        default=strawberry.UNSET, description="When the run began."
    )
    found: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether there were any findings."
    )


@strawberry.type(description="How far detection has come, and whether it keeps up.")
class DetectionState:
    last_run: DetectionRun | None = strawberry.field(
        description="The run that began last; null before the first."
    )
    next_run_at: datetime | None = strawberry.field(
        description="The full minute after the last run, when the next one is due; past where none"
        " came then, and null before the first."
    )
    waiting_since: datetime | None = strawberry.field(
        description="When the oldest request that no run has looked at came into the record; null"
        " where none waits."
    )
    is_late: bool = strawberry.field(
        description="Whether requests wait and no run came for more than"
        f" {backlog.LATE // timedelta(minutes=1)} minutes: see whether the worker"
        " (`manage.py run_huey`) is there."
    )


@strawberry.type(description="What a run would find, and do about it.")
class PlannedFinding:
    address: IPNetwork = strawberry.field(description="The address or network.")
    detector: str = strawberry.field(description="Which detector, by its name.")
    reason: str = strawberry.field(description="What it found, for people.")
    severity: Severity = strawberry.field(description="How bad it is.")
    count: int = strawberry.field(
        description="How many it counted; 2147483647 stands for that or more."
    )
    threshold: int = strawberry.field(description="What is too many, from one more on.")
    window_start: datetime = strawberry.field(description="Where the window begins.")
    window_end: datetime = strawberry.field(description="Where the window ends.")
    response: DetectorMode = strawberry.field(
        description="What would be done; OFF is nothing beyond keeping the finding."
    )
    duration: timedelta | None = strawberry.field(
        description="How long a block would last; null where there would be none."
    )
    because: str = strawberry.field(description="Why not more; may be empty.")

    @classmethod
    def of(cls, planned: Planned) -> PlannedFinding:
        finding, response = planned.finding, planned.response
        return cls(
            address=IPNetwork(target_of_network(finding.target).text),
            detector=finding.detector,
            reason=finding.reason,
            severity=Severity(finding.severity),
            count=min(finding.count, LARGEST_INT),
            threshold=min(finding.threshold, LARGEST_INT),
            window_start=finding.start,
            window_end=finding.end,
            response=DetectorMode(response.mode),
            duration=response.duration,
            because=response.because,
        )


@strawberry.input(description="How to run detection.")
class RunDetectionInput:
    dry_run: bool = strawberry.field(
        default=False,
        description="Change nothing: answer what a run would find, and do about it. Needs the"
        f" permission {SEE_SUSPICIONS} besides.",
    )


@strawberry.type(description="What became of runDetection.")
class RunDetectionPayload:
    run: DetectionRun | None = strawberry.field(
        default=None, description="The run; null when there are errors, and for a dry run."
    )
    planned: list[PlannedFinding] | None = strawberry.field(
        default=None,
        description=f"What a run would find now, at most {MOST_PLANNED}, the worst first; null but"
        " for a dry run.",
    )
    planned_count: int | None = strawberry.field(
        default=None, description="How many that are in all; null but for a dry run."
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was run.")


@strawberry.type
class DetectionQueries:
    @strawberry.field(
        description="How far detection has come, and whether it keeps up. Needs the permission"
        f" {PERMISSION}."
    )
    def detection_state(self, info: Info) -> DetectionState | None:
        require(info, PERMISSION)
        state = backlog.of(timezone.now())
        return DetectionState(
            last_run=None if state.last_run is None else DetectionRun.of(state.last_run),
            next_run_at=state.next_run_at,
            waiting_since=state.waiting_since,
            is_late=state.is_late,
        )

    @strawberry.field(
        description=f"What each run did, the newest first. Needs the permission {PERMISSION}."
    )
    def detection_runs(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's word
            DetectionRunFilter | None, strawberry.argument(description="Which runs.")
        ] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> Connection[DetectionRun] | None:
        require(info, PERMISSION)
        rows = Row.objects.filter(**_conditions(filter or DetectionRunFilter()))
        rows = rows.annotate(at=F("started_at"))
        return connect(info, rows, (first, after, last, before), _nodes, NARROW)


@strawberry.type
class DetectionMutations:
    @strawberry.mutation(
        description="Look at what is new in the record at once, and act on it as the worker does"
        f" each minute, or only say what that would do. Needs the permission {RUN}."
    )
    def run_detection(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            RunDetectionInput, strawberry.argument(description="How.")
        ],
    ) -> RunDetectionPayload | None:
        require(info, RUN)
        if input.dry_run:
            return _rehearsed(info)
        try:
            run = detection.run(timezone.now(), f"by {actor(info).name}")
        except (AlreadyRunning, Outrun):
            return RunDetectionPayload(errors=[_busy()])
        return RunDetectionPayload(run=DetectionRun.of(run), errors=[])


def runs_by_id(info: Info, pks: Iterable[int]) -> dict[int, DetectionRun]:
    """Return the runs that exist among the primary keys; they need the list's permission."""
    require(info, PERMISSION)
    return _nodes(pks)


def _rehearsed(info: Info) -> RunDetectionPayload:
    require(info, SEE_SUSPICIONS)
    with within_budget(info, "so much is new; ask `manage.py detect --dry-run`"):
        planned = detection.preview(timezone.now())
    planned.sort(key=lambda each: each.finding.severity.rank, reverse=True)
    return RunDetectionPayload(
        planned=[PlannedFinding.of(each) for each in planned[:MOST_PLANNED]],
        planned_count=len(planned),
        errors=[],
    )


def _busy() -> AlreadyRunningError:
    return AlreadyRunningError(
        code=ErrorCode.ALREADY_RUNNING,
        message="Another run is at it: see `detectionRuns` for what it did, or try again.",
    )


def _conditions(asked: DetectionRunFilter) -> dict[str, object]:
    """Return the filter as Django writes it."""
    conditions: dict[str, object] = {}
    if asked.started_at and asked.started_at.gte:
        conditions["started_at__gte"] = asked.started_at.gte
    if asked.started_at and asked.started_at.lt:
        conditions["started_at__lt"] = asked.started_at.lt
    if (found := stated(asked.found)) is not None:
        conditions["findings__gt" if found else "findings"] = 0
    return conditions


def _nodes(pks: Iterable[int]) -> dict[int, DetectionRun]:
    return {row.pk: DetectionRun.of(row) for row in Row.objects.filter(pk__in=list(pks))}
