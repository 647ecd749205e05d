"""Asking for one thing after the other that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Severity, busiest
from tracking.evidence import NOT_FOUND, Span


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width = seconds(thresholds)
    for key in span.missing(width, thresholds["paths"]):
        seen = [one for one in span.requests(key, width) if one.status in NOT_FOUND]
        moments, paths = [one.at for one in seen], [one.path for one in seen]
        peak = busiest(moments, width, thresholds["paths"], paths)
        if peak is None:
            continue
        yield Finding(
            detector=SCANNING.name,
            target=parse_network(key),
            severity=Severity.MEDIUM,
            reason=f"{peak.count} different paths that are not there",
            count=peak.count,
            threshold=thresholds["paths"],
            start=moments[peak.first],
            end=moments[peak.last],
            evidence=evidence_of(seen[peak.first : peak.last + 1]),
        )


SCANNING = Detector(
    name="scanning",
    description="One client asks for more than `paths` different paths that are not there within"
    " `window` seconds.",
    thresholds={"paths": 20, "window": 600},
    modes=in_every_case(Mode.SUGGEST),
    find=_find,
    counts_only=True,
)
