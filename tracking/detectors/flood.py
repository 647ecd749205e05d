"""More requests from one client than a person makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Peak, Severity, busiest
from tracking.evidence import Seen, Span


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width, most = seconds(thresholds), thresholds["requests"]
    for key in span.busy(width, min(most, thresholds["block_requests"])):
        seen = span.requests(key, width)
        # Whoever is signed in is known, and has limits of his own; an office shares one address.
        strangers = [one for one in seen if not one.user_pk]
        blocking = busiest([one.at for one in strangers], width, thresholds["block_requests"])
        flagged = busiest([one.at for one in seen], width, most)
        if blocking is not None:
            yield _finding(key, strangers, blocking, thresholds, is_block=True)
        elif flagged is not None:
            yield _finding(key, seen, flagged, thresholds, is_block=False)


def _finding(
    key: str, seen: Sequence[Seen], peak: Peak, thresholds: Mapping[str, int], *, is_block: bool
) -> Finding:
    return Finding(
        detector=FLOOD.name,
        target=parse_network(key),
        severity=Severity.HIGH if is_block else Severity.MEDIUM,
        reason=f"{peak.count} requests within {seconds(thresholds)}",
        count=peak.count,
        threshold=min(thresholds["requests"], thresholds["block_requests"]),
        start=seen[peak.first].at,
        end=seen[peak.last].at,
        evidence=evidence_of(seen[peak.first : peak.last + 1]),
        is_block=is_block,
    )


FLOOD = Detector(
    name="flood",
    description="More requests from one client than `requests` in any stretch of `window` seconds;"
    " above `block_requests` that nobody signed in has sent, it is blocked.",
    thresholds={"requests": 100, "block_requests": 600, "window": 3600},
    modes=in_every_case(Mode.ENFORCE),
    find=_find,
    counts_only=True,
)
