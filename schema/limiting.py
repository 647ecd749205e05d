"""Limits on single fields: each execution counts, however it came about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strawberry.extensions import FieldExtension
from strawberry.extensions.field_extension import SyncExtensionResolver
from strawberry.types import Info

from schema.errors import Code, ErrorCode, RateLimitedError, Refusal
from tracking import guard
from tracking.engine.verdict import Verdict


class Limited(FieldExtension):
    """Counts each execution of a field by the limit `name`, and refuses those above its rates.

    Aliases, fragments and repeated requests count alike, since each of them runs the field. A field
    that is refused is a top-level error, RATE_LIMITED, and the others of the document still answer.
    A mutation whose payload has `errors` names that payload's type: a refusal is then a
    RateLimitedError in a payload made of `errors` alone.
    """

    def __init__(self, name: str, payload: Callable[..., object] | None = None) -> None:
        self.name = name
        self.payload = payload
        if payload is not None:
            payload(errors=[])  # a payload that needs more than errors shows at start

    def resolve(
        self, next_: SyncExtensionResolver, source: Any, info: Info, **arguments: Any
    ) -> Any:
        verdict = guard.limit(info.context.request, self.name)
        if not verdict.refused:
            return next_(source, info, **arguments)
        if self.payload is not None:
            return self.payload(errors=[user_error(verdict)])
        raise refusal(verdict)


def refusal(verdict: Verdict) -> Refusal:
    """Return a verdict as a top-level error."""
    return Refusal(
        Code.RATE_LIMITED, message(verdict), retryAfter=verdict.retry_after, limit=verdict.limit
    )


def user_error(verdict: Verdict) -> RateLimitedError:
    """Return a verdict as one of the errors of a payload."""
    return RateLimitedError(
        code=ErrorCode.RATE_LIMITED,
        message=message(verdict),
        limit=verdict.limit,
        retry_after=verdict.retry_after,
    )


def message(verdict: Verdict) -> str:
    return f"Too often: try again in {verdict.retry_after} s (limit {verdict.limit})."
