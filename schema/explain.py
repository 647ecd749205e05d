"""Why a request is let in or refused."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from strawberry.types import Info

from schema.budget import budget_of, out_of_time
from schema.errors import bad_input
from schema.filters import VerdictKind
from schema.keyset import stated
from schema.permissions import require
from schema.places import Place, place_of
from schema.ratelimits import RateLimitState
from schema.requests import COLUMNS, RequestLog
from schema.requests import PERMISSION as REQUESTS
from schema.rules import LARGEST_INT, AccessRule
from schema.rules import PERMISSION as RULES
from schema.scalars import IPAddress
from tracking import explain
from tracking.engine.address import Scope, parse_address
from tracking.engine.trace import Effect
from tracking.models import RequestLog as Row
from tracking.timebudget import OutOfTime

NARROW = "ask again, or for another address"


@strawberry.enum(description="What kind of place an address stands for.")
class AddressScope(enum.Enum):
    GLOBAL = strawberry.enum_value(Scope.GLOBAL.value, description="The public internet.")
    PRIVATE = strawberry.enum_value(Scope.PRIVATE.value, description="A private network.")
    LOOPBACK = strawberry.enum_value(Scope.LOOPBACK.value, description="This machine.")
    LINK_LOCAL = strawberry.enum_value(Scope.LINK_LOCAL.value, description="The same link.")
    CGNAT = strawberry.enum_value(
        Scope.CGNAT.value, description="A provider's network behind address translation."
    )
    DOCUMENTATION = strawberry.enum_value(
        Scope.DOCUMENTATION.value, description="Examples in documents."
    )
    MULTICAST = strawberry.enum_value(Scope.MULTICAST.value, description="A group of receivers.")
    RESERVED = strawberry.enum_value(Scope.RESERVED.value, description="Any other special use.")


@strawberry.enum(description="What becomes of a rule that matches the client.")
class RuleEffect(enum.Enum):
    DECIDES = strawberry.enum_value(Effect.DECIDES.value, description="It decides.")
    OUTRANKED = strawberry.enum_value(
        Effect.OUTRANKED.value, description="It applies, but another comes first."
    )
    OBSERVED = strawberry.enum_value(
        Effect.OBSERVED.value, description="It applies, but is only observed."
    )
    EXPIRED = strawberry.enum_value(Effect.EXPIRED.value, description="It is over.")
    OTHER_PATH = strawberry.enum_value(
        Effect.OTHER_PATH.value, description="It is about other paths."
    )
    OTHER_METHOD = strawberry.enum_value(
        Effect.OTHER_METHOD.value, description="It is about other methods."
    )


@strawberry.type(description="A rule that matches the client, and what becomes of it.")
class DecisionStep:
    rule: AccessRule = strawberry.field(description="The rule.")
    effect: RuleEffect = strawberry.field(description="What becomes of it, for programs.")
    because: str = strawberry.field(description="Why, for people.")


@strawberry.type(description="A limit, as it stands for the address without an account.")
class LimitStep:
    name: str = strawberry.field(description="The name of the limit.")
    applies: bool = strawberry.field(
        description="Whether it counts requests for this path and method by itself."
    )
    observed: bool = strawberry.field(description="Whether it only counts and refuses nothing.")
    states: list[RateLimitState] = strawberry.field(
        description="What is left of each of its rates, as this process counts them; with Redis, as"
        " all do."
    )


@strawberry.type(description="How many requests were decided on so.")
class VerdictCount:
    verdict: VerdictKind = strawberry.field(description="What was decided.")
    requests: int = strawberry.field(description="How many requests.")


@strawberry.type(description="What came from an address of late.")
class AddressHistory:
    since: datetime = strawberry.field(description="From when on `counts` counts: 24 hours ago.")
    counts: list[VerdictCount] | None = strawberry.field(
        description="How many requests there were by verdict; null where there was no time."
    )
    recent: list[RequestLog] | None = strawberry.field(
        description=f"The last {explain.MOST_RECENT} requests, however old, the newest first; null"
        " where there was no time."
    )


@strawberry.type(
    description="What would be decided about a request that came now without an account, and why."
)
class DecisionTrace:
    address: IPAddress = strawberry.field(description="The client's address.")
    scope: AddressScope = strawberry.field(description="What kind of address that is.")
    place: Place | None = strawberry.field(description="Where it is; null when unknown.")
    path: str = strawberry.field(description="The path as it is routed: decoded.")
    method: str = strawberry.field(description="The HTTP method.")
    verdict: VerdictKind = strawberry.field(description="What would be decided.")
    because: str = strawberry.field(description="Why, in one sentence.")
    rule: AccessRule | None = strawberry.field(
        description="The rule that decides, or would; null where none does."
    )
    limit: str | None = strawberry.field(
        description="The limit that decides, or would; null where none does."
    )
    steps: list[DecisionStep] = strawberry.field(
        description="Every rule that matches the client, in the order of precedence."
    )
    limits: list[LimitStep] = strawberry.field(
        description="The limits that count addresses, or callers without an account."
    )
    remedies: list[str] = strawberry.field(
        description="What would let it in where it is refused: mutations and commands to copy."
    )
    history: AddressHistory = strawberry.field(description="What came from the address of late.")
    recorded: RequestLog | None = strawberry.field(
        description="The request that was asked about by its reference, with what was decided"
        " then; null without a reference."
    )


@strawberry.type
class ExplainQueries:
    @strawberry.field(
        description="Why a request is let in or refused: either one from this address now, without"
        " an account, or a recorded one by its reference. Counts nothing and changes nothing. Needs"
        f" the permissions {RULES} and {REQUESTS}."
    )
    def explain(
        self,
        info: Info,
        address: Annotated[
            IPAddress | None, strawberry.argument(description="The client's address.")
        ] = strawberry.UNSET,
        path: Annotated[
            str,
            strawberry.argument(
                description="The path, escaped as it is sent; a query string counts for nothing."
            ),
        ] = "/",
        method: Annotated[str, strawberry.argument(description="The HTTP method.")] = "GET",
        reference: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description="The reference that a refused client was told, or any `requestId`; then"
                " address, path and method are those of that request."
            ),
        ] = strawberry.UNSET,
    ) -> DecisionTrace | None:
        require(info, RULES)
        require(info, REQUESTS)
        client, told = stated(address), stated(reference)
        if (client is None) is (told is None):
            raise bad_input("Give either address or reference.")
        budget = budget_of(info)
        try:
            if told is not None:
                return _shown(explain.explain_request(told, budget))
            return _shown(explain.explain(parse_address(client or ""), budget, path, method))
        except explain.QuestionError as error:
            raise bad_input(f"{error.argument}: {error}") from None
        except OutOfTime:
            raise out_of_time(NARROW) from None


def _shown(trace: explain.Trace) -> DecisionTrace:
    steps = [
        DecisionStep(
            rule=AccessRule.of(step.rule), effect=RuleEffect(step.effect), because=step.because
        )
        for step in trace.steps
    ]
    deciding = [step.rule for step in steps if step.rule.pk == trace.verdict.rule]
    recorded = [] if trace.recorded is None else _requests([trace.recorded])
    return DecisionTrace(
        address=IPAddress(str(trace.address)),
        scope=AddressScope(trace.scope),
        place=place_of(str(trace.address)),
        path=trace.path,
        method=trace.method,
        verdict=VerdictKind(trace.verdict.kind),
        because=trace.because,
        rule=deciding[0] if deciding else None,
        limit=trace.verdict.limit or None,
        steps=steps,
        limits=[_limit(step, trace.at) for step in trace.limits],
        remedies=list(trace.remedies),
        history=_history(trace.history),
        recorded=recorded[0] if recorded else None,
    )


def _limit(step: explain.LimitStep, at: datetime) -> LimitStep:
    now = at.replace(microsecond=0)
    return LimitStep(
        name=step.limit.name,
        applies=step.applies,
        observed=step.limit.observed,
        states=[
            RateLimitState(
                name=state.limit,
                policy=str(state.rate),
                limit=state.rate.count,
                remaining=state.remaining,
                reset_at=now + timedelta(seconds=state.reset_after),
            )
            for state in step.states
        ],
    )


def _history(history: explain.History) -> AddressHistory:
    counts = None
    if history.counts is not None:
        counts = [
            VerdictCount(verdict=VerdictKind(kind), requests=min(number, LARGEST_INT))
            for kind, number in sorted(history.counts.items())
        ]
    recent = None if history.recent is None else _requests(history.recent)
    return AddressHistory(since=history.since, counts=counts, recent=recent)


def _requests(rows: Sequence[Row]) -> list[RequestLog]:
    return RequestLog.page([tuple(getattr(row, name) for name in COLUMNS) for row in rows])
