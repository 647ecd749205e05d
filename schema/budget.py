"""How long one request may keep the database busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from strawberry.types import Info

from schema.errors import Code, Refusal
from tracking import conf
from tracking.timebudget import OutOfTime, TimeBudget


def budget_of(info: Info) -> TimeBudget:
    """Return the time that all fields of this request share (TRACKING_QUERY_TIME_BUDGET)."""
    request = info.context.request
    budget: TimeBudget | None = getattr(request, "query_budget", None)
    if budget is None:
        budget = request.query_budget = TimeBudget(conf.current().query_time_budget)
    return budget


@contextmanager
def within_budget(info: Info, narrow: str) -> Iterator[None]:
    """Run the block's queries in the time that is left.

    Raises Refusal QUERY_TOO_COSTLY when it runs out; `narrow` says what to ask for instead.
    """
    try:
        with budget_of(info).spending():
            yield
    except OutOfTime:
        raise out_of_time(narrow) from None


def out_of_time(narrow: str) -> Refusal:
    """Return the refusal of what took longer than the time of a request."""
    seconds = conf.current().query_time_budget
    return Refusal(
        Code.QUERY_TOO_COSTLY,
        f"This took the database more than the {seconds:g} s a request may use: {narrow}.",
    )
