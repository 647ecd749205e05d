"""Guessing passwords: many failed logins, to many accounts, or from many addresses to one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tracking import ipstorage
from tracking.detectors.detector import Detector, evidence_of, seconds
from tracking.engine.address import IPNetwork, parse_address, parse_network
from tracking.engine.findings import Finding, Mode, Severity, busiest
from tracking.evidence import Span, Tried


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    yield from _posts(span, thresholds)
    by_client, by_account = defaultdict(list), defaultdict(list)
    for tried in span.failed_logins(seconds(thresholds)):
        client = ipstorage.client_of(parse_address(tried.address))
        by_client[client].append(tried)
        by_account[tried.account].append((client, tried))
    for client, tries in by_client.items():
        attempts = _guesses(tries)
        accounts = len({tried.account for tried in attempts})
        moments = [tried.at for tried in attempts]
        peak = busiest(moments, seconds(thresholds), thresholds["failures"])
        if peak is not None or accounts > thresholds["accounts"]:
            count = peak.count if peak is not None else len(attempts)
            reason = f"{count} failed logins, to {accounts} accounts"
            yield _finding(span, client, attempts, reason, Severity.HIGH, thresholds["failures"])
    for pairs in by_account.values():
        clients = {client for client, _ in pairs}
        if len(clients) > thresholds["clients"]:
            reason = f"one of {len(clients)} addresses that fail to log in to one account"
            for client in sorted(clients, key=str):
                attempts = [tried for each, tried in pairs if each == client]
                yield _finding(
                    span, client, attempts, reason, Severity.MEDIUM, thresholds["clients"]
                )


def _guesses(tries: list[Tried]) -> list[Tried]:
    """Return the attempts that guess at a password.

    Where a whole office logs in at nine from one address, the limit refuses right passwords: an
    attempt above it counts only where the same client has failed at this account, too.
    """
    failed = {tried.account for tried in tries if not tried.is_limited}
    return [tried for tried in tries if tried.account in failed]


def _posts(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width, most = seconds(thresholds), thresholds["posts"]
    for key in span.posting(width, most):
        seen = span.refused_posts(key, width)
        moments = [one.at for one in seen]
        peak = busiest(moments, width, most)
        if peak is not None:
            yield Finding(
                detector=STUFFING.name,
                target=parse_network(key),
                severity=Severity.MEDIUM,
                reason=f"{peak.count} forms that were refused, such as {seen[-1].path[:100]}",
                count=peak.count,
                threshold=most,
                start=moments[peak.first],
                end=moments[peak.last],
                evidence=evidence_of(seen),
            )


def _finding(
    span: Span,
    client: IPNetwork,
    attempts: list[Tried],
    reason: str,
    severity: Severity,
    threshold: int,
) -> Finding:
    return Finding(
        detector=STUFFING.name,
        target=client,
        severity=severity,
        reason=reason,
        count=len(attempts),
        threshold=threshold,
        start=attempts[0].at,
        end=attempts[-1].at,
        evidence=span.sample(client),
    )


STUFFING = Detector(
    name="stuffing",
    description="More than `failures` failed logins from one client within `window` seconds, or to"
    " more than `accounts` accounts; more than `posts` forms that are refused; or one account to"
    " which more than `clients` fail to log in.",
    thresholds={"failures": 10, "posts": 5, "accounts": 4, "clients": 10, "window": 900},
    modes={Severity.LOW: Mode.SUGGEST, Severity.MEDIUM: Mode.SUGGEST, Severity.HIGH: Mode.ENFORCE},
    find=_find,
)
