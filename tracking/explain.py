"""Why a request is let in or refused: what matches, what decides, and what would change that.

The answer comes from the rules and the decision that live requests meet, and counts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import unquote

from django.db.models import Count
from django.utils import timezone

from tracking import conf, geo, ipstorage, limiter, policy
from tracking.engine.address import IPAddress, Scope, parse_address, scope_of, shown
from tracking.engine.limits import ClientClass, Key, Limit, State, key_of_address
from tracking.engine.place import Place
from tracking.engine.rules import Rule, RuleAction
from tracking.engine.trace import Effect, walk
from tracking.engine.verdict import Verdict, VerdictKind
from tracking.engine.visit import Visit
from tracking.models import AccessRule, RequestLog
from tracking.remedies import against_limit, against_rules
from tracking.timebudget import OutOfTime, TimeBudget

HISTORY = timedelta(hours=24)
MOST_RECENT = 10
LONGEST_PATH = 2048

_REFERENCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_METHOD = re.compile(r"[A-Za-z]{1,16}", re.ASCII)


class QuestionError(ValueError):
    """Nothing can be explained; `argument` is wrong, and the message says how."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that matches the client, in the order of precedence, and what becomes of it."""

    rule: AccessRule
    effect: Effect
    because: str


@dataclass(frozen=True, slots=True)
class LimitStep:
    """A limit as it stands for the address, asking without an account.

    `applies`: whether a request for this path and method is counted by it. `verdict` is that on
    the next use.
    """

    limit: Limit
    applies: bool
    verdict: Verdict
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What came from the address of late: None where there was no time to look."""

    since: datetime
    counts: dict[VerdictKind, int] | None
    recent: tuple[RequestLog, ...] | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What would be decided about a request now, and why.

    `recorded` is the request that was asked about by its reference, as it was answered then.
    """

    at: datetime
    address: IPAddress
    scope: Scope
    place: Place
    path: str
    method: str
    recorded: RequestLog | None
    steps: tuple[Step, ...]
    limits: tuple[LimitStep, ...]
    verdict: Verdict
    because: str
    history: History
    remedies: tuple[str, ...]


def explain(
    address: IPAddress,
    budget: TimeBudget,
    path: str = "/",
    method: str = "GET",
    recorded: RequestLog | None = None,
) -> Trace:
    """Return the trace of a request from an address, made now without an account.

    `path` is as it is sent: escapes are decoded, and a query string counts for nothing. Raises
    QuestionError for what is no path or method, and OutOfTime when the rules cannot be read.
    """
    visit = _visit(address, path, method)
    matching = policy.current().matching(address, visit.place)
    by_rules = _enforced(policy.current().decide(visit, visit.at))
    steps = _steps(matching, visit, budget)
    limits = tuple(_limits(visit))
    verdict = _with_limits(by_rules, limits)
    return Trace(
        at=visit.at,
        address=address,
        scope=scope_of(address),
        place=visit.place,
        path=visit.path_info,
        method=visit.method,
        recorded=recorded,
        steps=steps,
        limits=limits,
        verdict=verdict,
        because=_because(verdict, steps),
        history=_history(visit, budget),
        remedies=tuple(_remedies(verdict, visit, steps)),
    )


def explain_request(reference: str, budget: TimeBudget) -> Trace:
    """Return the trace of a recorded request, by the id that its client was told.

    Raises QuestionError for an id that is not on record, and OutOfTime.
    """
    if not _REFERENCE.fullmatch(reference.strip().lower()):
        message = f"{shown(reference)} is not a reference: it has 32 digits from 0 to f."
        raise QuestionError("reference", message)
    with budget.spending():
        rows = RequestLog.objects.select_related("rule")
        row = rows.filter(request_id=reference.strip().lower()).order_by("pk").first()
    if row is None:
        message = "No request of this reference is on record (a new one is within a second)."
        raise QuestionError("reference", message)
    address = parse_address(row.address)
    if not ipstorage.is_whole(address):
        message = (
            f"It was {row.verdict}, but its address is not on record as a whole (see"
            " TRACKING_IP_STORAGE): ask by the address."
        )
        raise QuestionError("reference", message)
    method = row.method if _METHOD.fullmatch(row.method) else "GET"
    path = row.path if row.path.startswith("/") else "/"
    return explain(address, budget, path, method, recorded=row)


def _visit(address: IPAddress, path: str, method: str) -> Visit:
    path = path.partition("?")[0]
    if not path.startswith("/") or len(path) > LONGEST_PATH or not path.isprintable():
        message = f"Write a path such as /admin/, of at most {LONGEST_PATH} characters."
        raise QuestionError("path", message)
    if not _METHOD.fullmatch(method):
        raise QuestionError("method", "Write the name of a method, such as POST.")
    visit = Visit(timezone.now(), 0.0, "", address, method.upper(), "", path, unquote(path))
    return replace(visit, place=geo.locate(address))


def _steps(matching: Sequence[Rule], visit: Visit, budget: TimeBudget) -> tuple[Step, ...]:
    with budget.spending():
        rows = AccessRule.objects.in_bulk([rule.id for rule in matching])
    return tuple(
        Step(rows[rule.id], effect, _why(rule, effect, rows.get(winner.id) if winner else None))
        for rule, effect, winner in walk(matching, visit)
        if rule.id in rows
    )


def _why(rule: Rule, effect: Effect, winner: AccessRule | None) -> str:
    does = "refuse" if rule.action is RuleAction.BLOCK else "let in"
    match effect:
        case Effect.DECIDES:
            return f"It is the most specific rule that applies, and says: {does}."
        case Effect.OBSERVED:
            return f"It is only observed: it would {does}, and decides nothing."
        case Effect.EXPIRED:
            return f"It expired at {rule.expires_at:%Y-%m-%d %H:%M:%S} UTC."
        case Effect.OTHER_PATH:
            return f"It is about paths that begin with {rule.path}."
        case Effect.OTHER_METHOD:
            return f"It is about {', '.join(rule.methods)} only."
        case Effect.OUTRANKED:
            return f"{_named(winner)} comes first."


def _named(row: AccessRule | None) -> str:
    return "Another rule" if row is None else f"Rule {row.pk} ({row})"


def _limits(visit: Visit) -> Iterator[LimitStep]:
    """Yield the limits that count addresses, or callers who have no account."""
    configuration = conf.current()
    key = key_of_address(visit.address, configuration.ipv6_prefix)
    for limit in configuration.limits.values():
        if limit.key is not Key.ACCOUNT and limit.rates[ClientClass.ANONYMOUS]:
            applies = limit.applies_to(visit.path_info, visit.method)
            verdict, states = limiter.check(limit, ClientClass.ANONYMOUS, key, increment=False)
            yield LimitStep(limit, applies, _enforced(verdict), states)


def _with_limits(by_rules: Verdict, limits: Iterable[LimitStep]) -> Verdict:
    """Return the verdict of the rules, or of the first limit that refuses what they let in."""
    if by_rules.refused:
        return by_rules
    exceeded = [step.verdict for step in limits if step.applies and step.verdict.limit]
    refusing = [verdict for verdict in exceeded if verdict.refused]
    return next(iter([*refusing, *exceeded]), by_rules)


def _enforced(verdict: Verdict) -> Verdict:
    if verdict.refused and not conf.current().enforces:
        return replace(verdict, kind=VerdictKind.OBSERVED)
    return verdict


def _because(verdict: Verdict, steps: Sequence[Step]) -> str:
    if verdict.limit:
        wait = f"used up for the next {verdict.retry_after} s"
        end = "" if verdict.refused else ", and only observed"
        return f"The limit {verdict.limit} is {wait}{end}."
    if verdict.rule is None:
        return "No rule that matches applies." if steps else "No rule matches."
    name = _named(next((step.rule for step in steps if step.rule.pk == verdict.rule), None))
    match verdict.kind:
        case VerdictKind.BLOCKED:
            return f"{name} refuses it: of the rules that apply it is the most specific."
        case VerdictKind.ALLOWED:
            return f"{name} lets it in: of the rules that apply it is the most specific."
        case _ if not conf.current().enforces:
            return f"{name} would refuse it, but TRACKING_ENFORCEMENT is observe."
        case _:
            return f"{name} would refuse it, but is only observed."


def _history(visit: Visit, budget: TimeBudget) -> History:
    since = visit.at - HISTORY
    rows = RequestLog.objects.filter(ipstorage.at(visit.address))
    counts: dict[VerdictKind, int] | None = None
    recent: tuple[RequestLog, ...] | None = None
    try:
        with budget.spending():
            recent = tuple(rows.select_related("rule").order_by("-at", "-pk")[:MOST_RECENT])
        with budget.spending():
            grouped = rows.window(since, None).order_by().values_list("verdict")
            counts = {VerdictKind(kind): n for kind, n in grouped.annotate(Count("pk"))}
    except OutOfTime:
        pass  # what is there is shown, and what is not is None
    return History(since, counts, recent)


def _remedies(verdict: Verdict, visit: Visit, steps: Sequence[Step]) -> Iterator[str]:
    if verdict.kind is VerdictKind.LIMITED:
        yield from against_limit(verdict, visit.address)
    elif verdict.kind is VerdictKind.BLOCKED:
        yield from against_rules(_in_the_way(steps), visit)


def _in_the_way(steps: Sequence[Step]) -> list[AccessRule]:
    """Return the block that decides, and those that would decide once it was lifted."""
    able = (step for step in steps if step.effect in {Effect.DECIDES, Effect.OUTRANKED})
    found = []
    for step in able:
        if step.rule.action == RuleAction.ALLOW and not step.rule.observed:
            break
        if not step.rule.observed:
            found.append(step.rule)
    return found
