"""More requests from one client than a person makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Severity, busiest
from tracking.evidence import Span


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width, most = seconds(thresholds), thresholds["requests"]
    for key in span.busy(width, min(most, thresholds["block_requests"])):
        seen = span.requests(key, width)
        moments = [one.at for one in seen]
        flagged = busiest(moments, width, most)
        blocking = busiest(moments, width, thresholds["block_requests"])
        peak = blocking or flagged
        if peak is None:
            continue
        yield Finding(
            detector=FLOOD.name,
            target=parse_network(key),
            severity=Severity.HIGH if blocking else Severity.MEDIUM,
            reason=f"{peak.count} requests within {width}",
            count=peak.count,
            threshold=most if flagged else thresholds["block_requests"],
            start=moments[peak.first],
            end=moments[peak.last],
            evidence=evidence_of(seen[peak.first : peak.last + 1]),
            is_block=blocking is not None,
        )


FLOOD = Detector(
    name="flood",
    description="More requests from one client than `requests` in any stretch of `window` seconds;"
    " above `block_requests` it is blocked.",
    thresholds={"requests": 100, "block_requests": 600, "window": 3600},
    modes=in_every_case(Mode.ENFORCE),
    find=_find,
    counts_only=True,
)
