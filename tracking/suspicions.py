"""Suspicions: findings become rows, and rows become blocks or suggestions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction

from tracking import blocklist, conf, signals
from tracking.audit import Actor
from tracking.detectors.detector import Detector
from tracking.engine.findings import (
    ALREADY_BLOCKED,
    ALREADY_OBSERVED,
    LONG_PAST,
    TOO_LITTLE,
    Finding,
    Mode,
    Response,
    Severity,
    Standing,
    respond,
)
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.engine.text import printable
from tracking.guards import Book, check
from tracking.models import AccessRule, RequestLog, SuspiciousIP
from tracking.proposals import AlreadyBlockedError, BlockingError, Proposal

DETECTION = Actor("detection")
SAME_INCIDENT = timedelta(hours=24)  # so long a confirmed suspicion takes in what comes after it
CLOCKS_DIFFER = timedelta(minutes=5)  # of two machines, at most
MOST_EVIDENCE = 50
_CRAWLER = re.compile(r"bot\b|bot/|crawl|spider|slurp", re.IGNORECASE)
Status = SuspiciousIP.Status
SETTLED = (Status.FALSE_POSITIVE, Status.IGNORED)
_MILDER = {TOO_LITTLE, LONG_PAST}  # answers that take no suggestion back


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a finding; `rule` is the block it led to."""

    row: SuspiciousIP
    is_new: bool
    response: Response
    rule: AccessRule | None = None


def answer(
    finding: Finding, detector: Detector, row: SuspiciousIP | None, now: datetime
) -> Response:
    """Return what is to be done about a finding as things stand. Changes nothing."""
    durations = conf.current().block_durations
    book = Book(DETECTION, [target_of_network(finding.target)], now)
    standing = replace(
        standing_of(finding, detector, row, book), earlier_blocks=_earlier_blocks(finding, now)
    )
    return respond(
        finding, standing, detector.modes, durations, now, counts_only=detector.counts_only
    )


def newest_row(finding: Finding) -> SuspiciousIP | None:
    """Return the newest suspicion of the same target and detector."""
    rows = SuspiciousIP.objects.filter(target=_text(finding), detector=finding.detector)
    return rows.order_by("-pk").first()


def is_known(finding: Finding, row: SuspiciousIP | None, now: datetime) -> bool:
    """Tell whether a row says already what is found.

    One that ends in times to come was written while the clock was wrong, and silences nothing.
    """
    return row is not None and finding.end <= row.window_end <= now + CLOCKS_DIFFER


def settle(finding: Finding, detector: Detector, now: datetime) -> Settled | None:
    """Put a finding into its row, and act on it; None when it says nothing new.

    Runs in the transaction of the caller, who keeps others from settling at the same time.
    """
    row = newest_row(finding)
    if row is not None and is_known(finding, row, now):
        if finding.count > row.count and row.status == Status.OPEN:
            row.count, row.reason = finding.count, printable(finding.reason, 500)
            row.save(update_fields=["count", "reason"])
        return None
    response = answer(finding, detector, row, now)
    is_new = row is None or (
        row.status == Status.CONFIRMED and finding.end - row.last_seen > SAME_INCIDENT
    )
    row = _fresh(finding) if row is None or is_new else _merged(row, finding)
    rule, response = _acted(finding, response, now)
    row.rule = rule or row.rule
    was_suggested = row.is_suggested
    if not (was_suggested and response.because in _MILDER):
        row.is_suggested = response.mode is Mode.SUGGEST
        row.because, row.duration = response.because[:255], response.duration
    row.save()
    _announce(row, is_new, was_suggested)
    return Settled(row, is_new, response, rule)


def standing_of(
    finding: Finding, detector: Detector, row: SuspiciousIP | None, book: Book
) -> Standing:
    """Return what rules, record and reviews (`row`, the newest) say of a target.

    Its earlier blocks are not counted. `book` knows the rules about the target.
    """
    durations = conf.current().block_durations
    proposal = _proposal(finding, Response(Mode.ENFORCE, durations[0]), book.now)
    is_allowed = any(
        rule.action == RuleAction.ALLOW and not (rule.observed or rule.path or rule.methods)
        for rule in book.covering(proposal.target)
    )
    is_blocked, protected = False, ""
    try:
        check(book, proposal)
    except AlreadyBlockedError:
        is_blocked = True
    except BlockingError as error:
        protected = str(error)
    return Standing(
        is_allowed=is_allowed,
        is_blocked=is_blocked,
        is_exempt=row is not None and row.status in SETTLED,
        is_crawler=detector.counts_only and _is_crawler(finding),
        protected=protected,
    )


def _is_crawler(finding: Finding) -> bool:
    """Tell whether the client says openly, in each request looked at, that it is a robot."""
    rows = RequestLog.objects.filter(pk__in=finding.evidence)
    agents = list(rows.values_list("user_agent", flat=True))
    return bool(agents) and all(_CRAWLER.search(agent) for agent in agents)


def _earlier_blocks(finding: Finding, now: datetime) -> int:
    since = now - conf.current().block_memory
    return (
        AccessRule.objects.filter(
            target=_text(finding),
            action=RuleAction.BLOCK,
            origin=AccessRule.Origin.AUTOMATIC,
            observed=False,
            created_at__gte=since,
        )
        .exclude(suspiciousip__status__in=SETTLED)
        .count()
    )


def _acted(
    finding: Finding, response: Response, now: datetime
) -> tuple[AccessRule | None, Response]:
    """Make the rule that a response calls for; what the guards refuse becomes a suggestion."""
    if response.mode not in {Mode.ENFORCE, Mode.OBSERVE}:
        return None, response
    try:
        with transaction.atomic():
            return blocklist.block(DETECTION, _proposal(finding, response, now), now), response
    except AlreadyBlockedError:
        already = ALREADY_OBSERVED if response.mode is Mode.OBSERVE else ALREADY_BLOCKED
        return None, Response(Mode.OFF, because=already)
    except BlockingError as error:
        return None, Response(Mode.SUGGEST, response.duration, str(error))


def _proposal(finding: Finding, response: Response, now: datetime) -> Proposal:
    return Proposal(
        target=target_of_network(finding.target),
        action=RuleAction.BLOCK,
        expires_at=now + (response.duration or timedelta(hours=1)),
        reason=f"{finding.detector}: {finding.reason}",
        origin=AccessRule.Origin.AUTOMATIC,
        observed=response.mode is Mode.OBSERVE,
    )


def _fresh(finding: Finding) -> SuspiciousIP:
    row = SuspiciousIP(
        target=_text(finding),
        first=str(finding.target[0]),
        prefix=finding.target.prefixlen,
        detector=finding.detector,
        first_seen=finding.start,
        window_start=finding.start,
        severity=finding.severity,
        count=0,
        evidence=[],
    )
    return _merged(row, finding)


def _merged(row: SuspiciousIP, finding: Finding) -> SuspiciousIP:
    """Return the row with what the newer finding says; the worst severity stays."""
    if finding.count >= row.count:
        row.reason = printable(finding.reason, 500)
    row.severity = max(Severity(row.severity), finding.severity, key=lambda one: one.rank)
    row.count = max(row.count, finding.count)
    row.threshold = finding.threshold
    row.window_start, row.window_end = finding.start, finding.end
    row.last_seen = finding.end
    kept = [pk for pk in row.evidence if pk not in finding.evidence]
    row.evidence = [*kept, *finding.evidence][-MOST_EVIDENCE:]
    return row


def _announce(row: SuspiciousIP, is_new: bool, was_suggested: bool) -> None:
    """Tell once of a suspicion and once of a suggestion, however often the finding comes again."""
    if is_new:
        signals.announce(signals.suspicion_raised, SuspiciousIP, suspicion=row)
    if row.is_suggested and not was_suggested:
        because = row.because
        signals.announce(signals.block_suggested, SuspiciousIP, suspicion=row, because=because)


def _text(finding: Finding) -> str:
    return target_of_network(finding.target).text
