"""A trace of a decision, as lines for a person and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracking.engine.text import printable
from tracking.explain import LimitStep, Step, Trace
from tracking.models import RequestLog

Line = tuple[str, str]


def lines(trace: Trace) -> Iterator[Line]:
    """Yield labels with what stands behind them."""
    yield "request", f"{trace.method} {printable(trace.path, 200)}"
    if trace.recorded is not None:
        yield "then", _request(trace.recorded)
    yield "now", f"{trace.verdict.kind}: {trace.because}"
    for number, step in enumerate(trace.steps, 1):
        yield f"rule {number}", f"{step.rule.pk} {step.rule}: {step.effect}. {step.because}"
    for limit in trace.limits:
        yield f"limit {limit.limit.name}", _limit(limit)
    for remedy in trace.remedies:
        yield "to let it in", remedy
    counts, recent = trace.history.counts, trace.history.recent
    told = "not counted, there was no time" if counts is None else "no requests"
    yield "last 24 hours", ", ".join(f"{n} {kind}" for kind, n in (counts or {}).items()) or told
    for row in recent or ():
        yield "recently", _request(row)


def document(trace: Trace) -> dict[str, Any]:
    """Return the trace as JSON writes it."""
    history = trace.history
    return {
        "at": trace.at.isoformat(),
        "address": str(trace.address),
        "scope": str(trace.scope),
        "country": trace.place.country,
        "city": trace.place.city,
        "asn": trace.place.asn,
        "path": trace.path,
        "method": trace.method,
        "verdict": str(trace.verdict.kind),
        "rule": trace.verdict.rule,
        "limit": trace.verdict.limit or None,
        "because": trace.because,
        "steps": [_step(step) for step in trace.steps],
        "limits": [_limit_document(limit) for limit in trace.limits],
        "remedies": list(trace.remedies),
        "history": {
            "since": history.since.isoformat(),
            "counts": history.counts,
            "recent": None
            if history.recent is None
            else [_request_document(row) for row in history.recent],
        },
        "recorded": None if trace.recorded is None else _request_document(trace.recorded),
    }


def _request(row: RequestLog) -> str:
    decided = f" by rule {row.rule_id}" if row.rule_id else f" by {row.limit}" if row.limit else ""
    asked = f"{row.method} {row.path[:200]}"
    return f"{row.at:%Y-%m-%d %H:%M:%S} {asked} {row.status} {row.verdict}{decided}"


def _limit(step: LimitStep) -> str:
    left = ", ".join(f"{state.remaining} of {state.rate}" for state in step.states)
    return f"{left} left" + ("" if step.applies else " (does not count this path by itself)")


def _step(step: Step) -> dict[str, Any]:
    rule = step.rule
    return {
        "rule": rule.pk,
        "kind": rule.kind,
        "target": rule.target,
        "action": rule.action,
        "observed": rule.observed,
        "path": rule.path,
        "methods": list(rule.methods),
        "reason": rule.reason,
        "expires_at": rule.expires_at.isoformat() if rule.expires_at else None,
        "effect": str(step.effect),
        "because": step.because,
    }


def _limit_document(step: LimitStep) -> dict[str, Any]:
    return {
        "name": step.limit.name,
        "applies": step.applies,
        "observed": step.limit.observed,
        "states": [
            {
                "rate": str(state.rate),
                "remaining": state.remaining,
                "reset_after": state.reset_after,
            }
            for state in step.states
        ],
    }


def _request_document(row: RequestLog) -> dict[str, Any]:
    return {
        "at": row.at.isoformat(),
        "method": row.method,
        "path": row.path,
        "status": row.status,
        "verdict": row.verdict,
        "rule": row.rule_id,
        "limit": row.limit or None,
        "reference": row.request_id,
    }
