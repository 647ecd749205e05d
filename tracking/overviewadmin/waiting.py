"""What waits for a person, and what was done: open suspicions with their evidence, and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from tracking import overview
from tracking.detectors import DETECTORS
from tracking.engine.address import parse_network
from tracking.engine.targets import texts_around
from tracking.engine.text import printable
from tracking.models import AccessRule, RequestLog, SuspiciousIP
from tracking.overviewadmin.links import Links
from tracking.suspicionadmin.verbs import BLOCK, LIFT, VERBS, may

MOST_TARGETS = 5
MOST_REQUESTS = 3  # of the evidence against each
MOST_BLOCKS = 8
MOST_COUNTED = 1000
LONGEST_PATH, LONGEST_REASON = 100, 200  # characters

Rows = Sequence[SuspiciousIP]


@dataclass(frozen=True, slots=True)
class Number:
    """How many rows there are, counted as far as MOST_COUNTED."""

    value: int
    is_more: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """A request behind a suspicion, as one line."""

    at: datetime
    words: str
    status: int
    url: str


@dataclass(frozen=True, slots=True)
class Finding:
    """An open suspicion, in words."""

    row: SuspiciousIP
    reason: str
    url: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """All open suspicions of a target, what blocks it, and where to go on from here."""

    worst: SuspiciousIP
    findings: list[Finding]
    is_suggested: bool
    because: str
    rule: AccessRule | None
    rule_url: str
    evidence: list[Evidence]
    requests_url: str
    steps: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Block:
    """A rule that blocks, and where it is lifted by who may."""

    row: AccessRule
    reason: str
    url: str
    lift_url: str


@dataclass(frozen=True, slots=True)
class Suspicions:
    number: Number
    shown: list[Suspicion]
    url: str


@dataclass(frozen=True, slots=True)
class Blocks:
    number: Number
    shown: list[Block]
    url: str


def suspicions(request: HttpRequest, now: datetime, links: Links) -> Suspicions:
    """Return the targets of the worst and newest open suspicions, and what to do about each."""
    rows = overview.open_suspicions()
    targets: dict[str, list[SuspiciousIP]] = {}
    for row in rows[: MOST_TARGETS * len(DETECTORS)]:  # a target has one for each detector
        targets.setdefault(row.target, []).append(row)
    chosen = list(targets.values())[:MOST_TARGETS]
    rules = _rules(chosen, now)
    evidence = _evidence(request, chosen, links)
    return Suspicions(
        number=_number(rows),
        shown=[
            _suspicion(request, found, rules.get(found[0].target), evidence, links)
            for found in chosen
        ],
        url=links.url("suspiciousip_changelist"),
    )


def blocks(request: HttpRequest, now: datetime, links: Links) -> Blocks:
    """Return the newest blocks of addresses and networks in force."""
    rows = overview.active_blocks(now)
    may_lift = request.user.has_perm(LIFT)
    shown = [
        Block(
            row,
            printable(row.reason, LONGEST_REASON),
            links.url("blockedip_change", row.pk),
            links.url("blockedip_lift", rules=row.pk) if may_lift else "",
        )
        for row in rows[:MOST_BLOCKS]
    ]
    return Blocks(_number(rows), shown, links.url("blockedip_changelist"))


def _rules(chosen: Sequence[Rows], now: datetime) -> dict[str, AccessRule]:
    """Return the rule that blocks each target, the widest; one that only observes comes last."""
    around = {rows[0].target: set(texts_around(parse_network(rows[0].target))) for rows in chosen}
    wanted = set().union(*around.values())
    live = overview.active_blocks(now).filter(target__in=wanted, path="").order_by("prefix", "pk")
    found = sorted(live, key=lambda rule: rule.observed)
    return {
        target: rule
        for target, texts in around.items()
        if (rule := next((rule for rule in found if rule.target in texts), None))
    }


def _suspicion(
    request: HttpRequest,
    rows: Rows,
    rule: AccessRule | None,
    evidence: Mapping[int, Evidence],
    links: Links,
) -> Suspicion:
    user: Any = request.user
    target = rows[0].target
    sees_log = user.has_perm("tracking.view_requestlog")
    sees_rules = user.has_perm("tracking.view_accessrule")
    behind = {number for row in rows for number in row.evidence}
    return Suspicion(
        worst=rows[0],
        findings=[_finding(row, links) for row in rows],
        is_suggested=any(row.is_suggested for row in rows),
        because=printable(_because(rows), LONGEST_REASON),
        rule=rule,
        rule_url=links.url("blockedip_change", rule.pk) if rule and sees_rules else "",
        evidence=[line for number, line in evidence.items() if number in behind][:MOST_REQUESTS],
        requests_url=links.url("requestlog_changelist", network=target) if sees_log else "",
        steps=_steps(request, rows, rule, links),
    )


def _because(rows: Rows) -> str:
    """Return why there is no block, or why a suggested one waits."""
    return next((row.because for row in rows if row.is_suggested), rows[0].because)


def _finding(row: SuspiciousIP, links: Links) -> Finding:
    url = links.url("suspiciousip_change", row.pk)
    return Finding(row, printable(row.reason, LONGEST_REASON), url)


def _steps(
    request: HttpRequest, rows: Rows, rule: AccessRule | None, links: Links
) -> list[tuple[str, str]]:
    """Return the pages that block the target, or agree that it is, and that call this wrong."""
    steps = []
    suggested = [row for row in rows if row.is_suggested]
    is_blocked = rule is not None and not rule.observed
    if suggested and may(request, VERBS["approve"]):
        steps.append(("Block", links.url("suspiciousip_approve", rows=_numbers(suggested))))
    elif not is_blocked and may(request, VERBS["block"]):
        steps.append(("Block", links.url("suspiciousip_block", rows=_numbers(rows))))
    elif not is_blocked and request.user.has_perm(BLOCK):
        told = {"target": rows[0].target, "reason": f"{rows[0].detector}: {rows[0].reason}"[:500]}
        steps.append(("Block", links.url("blockedip_add", **told)))
    elif is_blocked and may(request, VERBS["confirm"]):
        steps.append(("Confirm", links.url("suspiciousip_confirm", rows=_numbers(rows))))
    if may(request, VERBS["false_positive"]):
        url = links.url("suspiciousip_false_positive", rows=_numbers(rows))
        steps.append(("False positive", url))
    return steps


def _numbers(rows: Rows) -> str:
    return ",".join(str(row.pk) for row in rows)


def _evidence(request: HttpRequest, chosen: Sequence[Rows], links: Links) -> dict[int, Evidence]:
    """Return the requests behind suspicions that the log still has, by number, the newest first."""
    if not request.user.has_perm("tracking.view_requestlog"):
        return {}
    wanted = {number for rows in chosen for row in rows for number in row.evidence}
    found = RequestLog.objects.filter(pk__in=wanted).only("at", "method", "path", "status")
    return {one.pk: _line(one, links) for one in found.order_by("-at", "-pk")}


def _line(one: RequestLog, links: Links) -> Evidence:
    words = f"{printable(one.method, 10)} {printable(one.path, LONGEST_PATH)}"
    return Evidence(one.at, words, one.status, links.request(one))


def _number(rows: QuerySet[Any]) -> Number:
    counted = rows.order_by()[: MOST_COUNTED + 1].count()
    return Number(min(counted, MOST_COUNTED), counted > MOST_COUNTED)
