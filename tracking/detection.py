"""Detection: look at what is new in the record, and act on what is found.

A run reads the rows behind the watermark, the number of the last row that was looked at; rows are
numbered in the order they commit, so none is ever passed by. Findings are settled a few at a time,
and only what is newer than what a row says already has consequences. So a run may be repeated,
killed in the middle or overtaken by another one: what comes out is the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Min, Q
from django.db.models.functions import Now, TruncHour
from django.utils import timezone

from tracking import conf, suspicions
from tracking.detectors import DETECTORS
from tracking.detectors.detector import Detector, changed, in_every_case
from tracking.engine.findings import Finding, Mode, Response
from tracking.evidence import Span
from tracking.models import (
    WATERMARK,
    Counter,
    DetectionRun,
    DetectorMode,
    RequestLog,
    RequestLogQuerySet,
)

logger = logging.getLogger(__name__)

LEASE = "detection.lease"
LEASE_TIME = timedelta(minutes=1)  # renewed with each batch of findings
MOST_ROWS = 200_000  # that one run looks at; what is more is left to the next
TOGETHER = 50  # findings in one transaction
HOUR = timedelta(hours=1)


class AlreadyRunning(Exception):
    """Another process is at it."""


class Outrun(Exception):
    """Another run has moved the watermark meanwhile; its report is the one that counts."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A finding, and what a run does or would do about it."""

    finding: Finding
    response: Response


Told = Callable[[Planned], None]


def run(now: datetime, trigger: str = "", told: Told | None = None) -> DetectionRun:
    """Look at what is new, act on it, and report. A second run at the same moment changes nothing.

    `told` hears of each finding that says something new, and of what was done about it.
    Raises AlreadyRunning, Outrun, and DatabaseError; a later run then does the work.
    """
    with _lease():
        after = watermark()
        return _looked(DetectionRun(after_row=after, upto_row=_newest(after)), now, trigger, told)


def run_to_end(now: datetime, trigger: str = "", told: Told | None = None) -> list[DetectionRun]:
    """Run until nothing is left that one run had no room for."""
    reports = [run(now, trigger, told)]
    while reports[-1].upto_row - reports[-1].after_row >= MOST_ROWS:
        reports.append(run(now, trigger, told))
    return reports


def look_again(
    now: datetime, since: datetime, trigger: str = "", told: Told | None = None
) -> DetectionRun:
    """Look again at requests since a moment that runs have looked at: thresholds may be others.

    The watermark stays; what suspicions say already has no consequences again. Raises as `run`.
    """
    with _lease():
        mark = watermark()
        return _looked(DetectionRun(after_row=mark, upto_row=mark), now, trigger, told, since)


def preview(now: datetime, since: datetime | None = None) -> list[Planned]:
    """Return what a run would find and do, and looking again since a moment. Changes nothing."""
    after = watermark()
    report = DetectionRun(now=now, after_row=after, upto_row=_newest(after))
    rows = RequestLog.objects.filter(pk__gt=after)
    if since is not None:
        rows |= RequestLog.objects.filter(at__gte=since)
    planned = []
    for finding, detector in _findings(report, rows.filter(pk__lte=report.upto_row)):
        row = suspicions.newest_row(finding)
        if not suspicions.is_known(finding, row, now):
            planned.append(Planned(finding, suspicions.answer(finding, detector, row, now)))
    return planned


def detectors() -> tuple[Detector, ...]:
    """Return the detectors with what the settings, and people since, have changed about them."""
    changes = conf.current().detectors
    modes = dict(DetectorMode.objects.values_list("detector", "mode"))
    return tuple(_changed(detector, changes, modes) for detector in DETECTORS)


def watermark() -> int:
    """Return the number of the last row that was looked at."""
    mark = Counter.objects.filter(name=WATERMARK).values_list("value", flat=True).first()
    return mark or 0


def _looked(
    report: DetectionRun,
    now: datetime,
    trigger: str,
    told: Told | None,
    since: datetime | None = None,
) -> DetectionRun:
    """Fill in and save a report on its rows, or on those up to them since a moment."""
    begun = time.monotonic()
    report.now, report.started_at, report.trigger = now, timezone.now(), trigger[:255]
    rows = RequestLog.objects.filter(pk__lte=report.upto_row)
    new = Q(pk__gt=report.after_row) if since is None else Q(at__gte=since)
    for found in _in_batches(_findings(report, rows.filter(new))):
        _settle(found, report, told)
    report.duration_ms = round((time.monotonic() - begun) * 1000, 1)
    with transaction.atomic():
        moved = Counter.objects.filter(name=WATERMARK, value=report.after_row)
        if not moved.update(value=report.upto_row, updated_at=Now()):
            raise Outrun
        report.save()
    return report


def _changed(
    detector: Detector, changes: Mapping[str, Mapping[str, object]], modes: Mapping[str, str]
) -> Detector:
    detector = changed(detector, changes.get(detector.name, {}))
    if detector.name in modes:
        detector = replace(detector, modes=in_every_case(Mode(modes[detector.name])))
    return detector


def _newest(after: int) -> int:
    """Return the number of the last row that one run has room for; numbers have gaps."""
    behind = RequestLog.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
    newest = behind.last() or after
    if newest - after <= MOST_ROWS:
        return newest
    return behind[MOST_ROWS - 1 : MOST_ROWS].first() or newest


def _findings(report: DetectionRun, rows: RequestLogQuerySet) -> Iterator[tuple[Finding, Detector]]:
    on = [detector for detector in detectors() if detector.is_on]
    for span in _spans(report, rows):
        report.examined_from = min(report.examined_from or span.start, span.start)
        report.examined_to = max(report.examined_to or span.end, span.end)
        for detector in on:
            for finding in detector.find(span, detector.thresholds):
                yield finding, detector


def _spans(report: DetectionRun, rows: RequestLogQuerySet) -> Iterator[Span]:
    """Yield the stretches of time, an hour or two long at most, that have these rows in them."""
    rows = rows.filter(at__lte=report.now)  # what a clock that was wrong dates later has no order
    # Not asked for the whole at once: PostgreSQL would look for the first time in the index of
    # times, from the oldest row on.
    by_hour = rows.order_by().annotate(hour=TruncHour("at")).values("hour")
    hours = list(by_hour.annotate(first=Min("at"), last=Max("at")).order_by("hour"))
    if hours and hours[-1]["last"] - hours[0]["first"] <= HOUR:
        yield _until(hours[-1]["last"], hours[0]["first"], report)
        return
    for hour in hours:
        yield _until(hour["last"], hour["first"], report)


def _until(last: datetime, first: datetime, report: DetectionRun) -> Span:
    """Return the span of new rows, with those known before that may share a window with them."""
    return Span(first, min(last + HOUR, report.now))


def _in_batches(
    found: Iterator[tuple[Finding, Detector]],
) -> Iterator[list[tuple[Finding, Detector]]]:
    batch = []
    for one in found:
        batch.append(one)
        if len(batch) == TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _settle(found: list[tuple[Finding, Detector]], report: DetectionRun, told: Told | None) -> None:
    with transaction.atomic():
        # Whoever settles holds this row: of two runs one sees what the other has written.
        Counter.objects.filter(name=WATERMARK).update(updated_at=Now())
        Counter.objects.filter(name=LEASE).update(updated_at=timezone.now())
        for finding, detector in found:
            report.findings += 1
            settled = suspicions.settle(finding, detector, report.now)
            if settled is not None:
                report.raised += settled.is_new
                report.blocked += settled.rule is not None and not settled.rule.observed
                report.suggested += settled.response.mode is Mode.SUGGEST
                if told is not None:
                    told(Planned(finding, settled.response))


@contextmanager
def _lease() -> Iterator[None]:
    """Hold the lease; a process that died with it lets go of it after LEASE_TIME."""
    Counter.objects.get_or_create(name=WATERMARK)
    lease, _ = Counter.objects.get_or_create(name=LEASE)
    mine = Counter.objects.filter(pk=lease.pk)
    now = timezone.now()
    # Of a moment to come it is where the clock was set back: then nobody would ever be free.
    held = Q(value=1, updated_at__range=(now - LEASE_TIME, now + LEASE_TIME))
    free = mine.exclude(held)
    if not free.update(value=1, updated_at=now):
        raise AlreadyRunning
    try:
        yield
    finally:
        mine.update(value=0)
