"""Asking for one thing after the other that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Severity
from tracking.evidence import NOT_FOUND, Seen, Span


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width = seconds(thresholds)
    for key in span.missing(width, thresholds["paths"]):
        firsts: dict[str, Seen] = {}
        for one in span.requests(key, width):
            if one.status in NOT_FOUND:
                firsts.setdefault(one.path, one)
        seen = list(firsts.values())
        if len(seen) <= thresholds["paths"]:
            continue
        yield Finding(
            detector=SCANNING.name,
            target=parse_network(key),
            severity=Severity.MEDIUM,
            reason=f"{len(seen)} different paths that are not there",
            count=len(seen),
            threshold=thresholds["paths"],
            start=seen[0].at,
            end=seen[-1].at,
            evidence=evidence_of(seen),
        )


SCANNING = Detector(
    name="scanning",
    description="One client asks for more than `paths` different paths that are not there within"
    " about `window` seconds.",
    thresholds={"paths": 20, "window": 600},
    modes=in_every_case(Mode.SUGGEST),
    find=_find,
    counts_only=True,
)
