"""Look for suspicious addresses now."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from tracking import detection
from tracking.detection import Planned
from tracking.engine.findings import Mode
from tracking.engine.targets import target_of_network
from tracking.engine.text import printable
from tracking.management.moments import moment
from tracking.management.tables import table
from tracking.models import DetectionRun

HEAD = ("TARGET", "DETECTOR", "SEVERITY", "COUNT", "UNTIL (UTC)", "RESPONSE", "REASON")


class Command(BaseCommand):
    help = (
        "Look for suspicious addresses in what is new in the record, as the Huey worker does every"
        " minute, act on what is found, and show it. What suspicions say already is not shown."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be done, and do nothing"
        )
        parser.add_argument(
            "--since",
            type=moment,
            metavar="WHEN",
            help="look again at requests since then (2026-11-22T10:30, or 24h for a day ago), also"
            " where runs have looked already",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="for programs")

    def handle(self, *, dry_run: bool, since: datetime | None, as_json: bool, **_: Any) -> None:
        now = timezone.now()
        planned: list[Planned] = []
        runs: list[DetectionRun] = []
        try:
            if dry_run:
                planned = detection.preview(now, since)
            else:
                if since is not None:
                    runs.append(detection.look_again(now, since, "command line", planned.append))
                runs += detection.run_to_end(now, "command line", planned.append)
        except (detection.AlreadyRunning, detection.Outrun):
            raise CommandError("Another process is looking already: try again soon.") from None
        except DatabaseError as error:
            raise CommandError(f"The database is away ({error}): run this again.") from None
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        except ValueError as error:
            raise CommandError(f"TRACKING_DETECTORS: {error}.") from None
        if as_json:
            told = {"dry_run": dry_run, "now": now.isoformat(), "runs": [*map(_run, runs)]}
            self.stdout.write(json.dumps(told | {"findings": [*map(_facts, planned)]}, indent=2))
        elif planned:
            self.stdout.write(table(HEAD, [_line(each, dry_run) for each in planned]))
        else:
            self.stderr.write("Nothing new is suspicious.")


def _line(planned: Planned, dry_run: bool) -> tuple[str, ...]:
    finding = planned.finding
    return (
        target_of_network(finding.target).text,
        finding.detector,
        finding.severity,
        str(finding.count),
        f"{finding.end:%Y-%m-%d %H:%M}",
        _response(planned, dry_run),
        printable(finding.reason, 200),
    )


def _response(planned: Planned, dry_run: bool) -> str:
    response = planned.response
    if response.mode is Mode.OFF:
        return f"none: {response.because}" if response.because else "none"
    word = {Mode.ENFORCE: "blocked", Mode.SUGGEST: "suggested", Mode.OBSERVE: "observed"}
    because = f": {response.because}" if response.because else ""
    return f"{'would be ' if dry_run else ''}{word[response.mode]} for {response.duration}{because}"


def _run(run: DetectionRun) -> dict[str, Any]:
    return {
        "after_row": run.after_row,
        "upto_row": run.upto_row,
        "findings": run.findings,
        "raised": run.raised,
        "blocked": run.blocked,
        "suggested": run.suggested,
        "duration_ms": run.duration_ms,
    }


def _facts(planned: Planned) -> dict[str, Any]:
    finding, response = planned.finding, planned.response
    duration = response.duration
    return {
        "target": target_of_network(finding.target).text,
        "detector": finding.detector,
        "severity": finding.severity,
        "count": finding.count,
        "threshold": finding.threshold,
        "start": finding.start.isoformat(),
        "end": finding.end.isoformat(),
        "reason": finding.reason,
        "evidence": list(finding.evidence),
        "response": response.mode,
        "duration_seconds": None if duration is None else round(duration.total_seconds()),
        "because": response.because,
    }
