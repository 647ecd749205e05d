"""Asking for what is sensitive: admin pages, logins, secrets, fields for operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracking.detectors.detector import Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import parse_network
from tracking.engine.families import ABSENT_SOFTWARE
from tracking.engine.findings import Finding, Mode, Severity, busiest
from tracking.engine.sensitive import SENSITIVE_FIELD, SENSITIVE_PATH
from tracking.evidence import Seen, Span

WORDS = {SENSITIVE_PATH, SENSITIVE_FIELD, ABSENT_SOFTWARE.name}
FIRST_REFUSAL, UNAUTHORIZED, TOO_MANY = 400, 401, 429


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width = seconds(thresholds)
    for key, tagged in span.tagged(width).items():
        seen = [one for one in tagged if WORDS & set(one.tags) and not one.user_pk]
        moments, paths = [one.at for one in seen], [one.path for one in seen]
        if (
            busiest(moments, width, thresholds["hits"] - 1)
            or busiest(moments, width, thresholds["paths"] - 1, paths)
            or any(ABSENT_SOFTWARE.name in one.tags for one in seen)
        ):
            yield _finding(key, seen, thresholds)


def _finding(key: str, seen: list[Seen], thresholds: Mapping[str, int]) -> Finding:
    # Whoever is let in by a login page has business there; a whole office may share an address.
    refused = [one for one in seen if _is_refused(one)]
    moments, paths = [one.at for one in refused], [one.path for one in refused]
    width = seconds(thresholds)
    blocking = busiest(moments, width, thresholds["block_hits"] - 1) or busiest(
        moments, width, thresholds["block_paths"] - 1, paths
    )
    number = len({one.path for one in seen})
    return Finding(
        detector=PROBING.name,
        target=parse_network(key),
        severity=Severity.HIGH if blocking else Severity.LOW,
        reason=f"{len(seen)} requests for {number} sensitive paths, such as {seen[-1].path[:100]}",
        count=len(seen),
        threshold=thresholds["hits"],
        start=seen[0].at,
        end=moments[blocking.last] if blocking else seen[-1].at,
        evidence=evidence_of(seen),
        is_block=blocking is not None,
    )


def _is_refused(one: Seen) -> bool:
    """Tell whether there was nothing for a client that asked of its own accord.

    Wrong passwords are for `stuffing`.
    """
    if (
        one.is_led
        or one.status == TOO_MANY
        or (one.method == "POST" and one.status == UNAUTHORIZED)
    ):
        return False
    return one.status >= FIRST_REFUSAL


PROBING = Detector(
    name="probing",
    description="Nobody who is signed in asks for sensitive paths or fields: `hits` times, or"
    " `paths` different ones, or for the administration of software that is not here, within"
    " `window` seconds. `block_hits` of them that are refused, or"
    " `block_paths` different ones, lead to a block.",
    thresholds={"hits": 10, "paths": 3, "block_hits": 30, "block_paths": 6, "window": 3600},
    modes=in_every_case(Mode.ENFORCE),
    find=_find,
)
