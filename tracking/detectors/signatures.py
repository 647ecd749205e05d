"""Requests that carry an attack, by the tags that the signatures gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tracking.detectors.detector import MILD, SEVERE, Detector, evidence_of, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Severity
from tracking.evidence import Span


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    for key, tagged in span.tagged(seconds(thresholds), only_attacks=True).items():
        severe = [one for one in tagged if SEVERE & set(one.tags)]
        seen = severe or [one for one in tagged if MILD & set(one.tags)]
        if not seen or not (severe or len(seen) >= thresholds["mild_hits"]):
            continue
        families = Counter(tag for one in seen for tag in one.tags if tag in SEVERE | MILD)
        severity = Severity.LOW
        if severe:
            severity = Severity.MEDIUM if all(one.is_led for one in severe) else Severity.HIGH
        names = ", ".join(name for name, _ in families.most_common(5))
        yield Finding(
            detector=SIGNATURES.name,
            target=parse_network(key),
            severity=severity,
            reason=f"requests with attacks: {len(seen)} ({names})",
            count=len(seen),
            threshold=1 if severe else thresholds["mild_hits"],
            start=seen[0].at,
            end=seen[-1].at,
            evidence=evidence_of(seen),
        )


SIGNATURES = Detector(
    name="signatures",
    description="A request of a family of attacks that nobody sends by accident (MEDIUM if a page"
    " led a browser to it); or `mild_hits` requests, within `window` seconds, that hardly anybody"
    " sends.",
    thresholds={"mild_hits": 3, "window": 3600},
    modes={Severity.LOW: Mode.SUGGEST, Severity.MEDIUM: Mode.SUGGEST, Severity.HIGH: Mode.ENFORCE},
    find=_find,
)
