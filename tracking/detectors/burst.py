"""A sudden rate far above what the client, and everybody, does otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from statistics import median

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.findings import Finding, Mode, Severity
from tracking.evidence import Seen, Span

MINUTE = timedelta(minutes=1)


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width = seconds(thresholds)
    busy = span.busy_minutes(thresholds["requests"])
    if not busy:
        return
    everybody = bound(span.minutes(width), thresholds["deviations"])
    for key in busy:
        seen = span.requests(key, width)
        minutes = Counter(one.at.replace(second=0, microsecond=0) for one in seen)
        if not minutes:
            continue
        start, count = max(minutes.items(), key=lambda pair: pair[1])
        others = [minutes.get(start - MINUTE * n, 0) for n in range(1, width // MINUTE)]
        usual = bound(Counter(others), thresholds["deviations"])
        if count > max(thresholds["requests"], everybody, usual):
            yield _finding(
                key, [one for one in seen if start <= one.at < start + MINUTE], everybody
            )


def _finding(key: str, seen: list[Seen], usual: float) -> Finding:
    return Finding(
        detector=BURST.name,
        target=parse_network(key),
        severity=Severity.MEDIUM,
        reason=f"{len(seen)} requests within a minute, where up to {usual:.0f} are usual",
        count=len(seen),
        threshold=round(usual),
        start=seen[0].at,
        end=seen[-1].at,
        evidence=evidence_of(seen),
    )


def bound(counts: Mapping[int, int], deviations: int) -> float:
    """Return what is still usual, given how often each number of requests in a minute occurred.

    The median, and so many median absolute deviations above it (scaled to be a standard deviation
    where numbers are normally distributed, and at least 1): unlike mean and variance, neither
    moves when up to half of the numbers are an attacker's.
    """
    numbers = sorted(Counter(counts).elements())
    if not numbers:
        return 0.0
    middle = median(numbers)
    spread = 1.4826 * median(abs(number - middle) for number in numbers)
    return middle + deviations * max(spread, 1.0)


BURST = Detector(
    name="burst",
    description="One client sends more than `requests` within a minute, and more than `deviations`"
    " robust standard deviations above the median of its own and of everybody's minutes in the"
    " `window` seconds before.",
    thresholds={"requests": 60, "deviations": 10, "window": 3600},
    modes=in_every_case(Mode.SUGGEST),
    find=_find,
    counts_only=True,
)
