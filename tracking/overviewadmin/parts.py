"""The parts of the page, each for who may see it and each within a time of its own.

A part that takes longer than TRACKING_QUERY_TIME_BUDGET is missing, and the page says so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest

from tracking import conf, health, overview
from tracking.health import Check
from tracking.models import RequestLog
from tracking.overviewadmin.figures import figures
from tracking.overviewadmin.links import Links
from tracking.overviewadmin.question import Asked
from tracking.overviewadmin.waiting import blocks, suspicions
from tracking.rollups import Moved
from tracking.timebudget import OutOfTime, TimeBudget

OBSERVING = "nothing is refused: TRACKING_ENFORCEMENT is observe"
MOVED = "The requests of this period are being counted anew: load the page again in a moment."


def parts(request: HttpRequest, asked: Asked, now: datetime, links: Links) -> dict[str, Any]:
    """Return what the templates show to this person. Raises DatabaseError."""
    user: Any = request.user
    shown: dict[str, Any] = {"checks": checks(now)}
    if user.has_perm("tracking.view_requestlog"):
        shown |= _requests(asked, now, links)
    if user.has_perm("tracking.view_suspiciousip"):
        try:
            with _budget().spending():
                shown["suspicions"] = suspicions(request, now, links)
        except OutOfTime:
            shown["suspicions_late"] = True
    if user.has_perm("tracking.view_accessrule"):
        try:
            with _budget().spending():
                shown["blocks"] = blocks(request, now, links)
        except OutOfTime:
            shown["blocks_late"] = True
    return shown


def checks(now: datetime) -> list[Check]:
    """Return how what works behind the requests is, and whether it refuses anything."""
    found = [
        health.look_at_worker(),
        health.look_at_journal(),
        health.look_at_detection(now),
        health.look_at_places(),
    ]
    if not conf.current().enforces:
        found.append(Check("enforcement", False, OBSERVING, warning=True))
    return found


def _requests(asked: Asked, now: datetime, links: Links) -> dict[str, Any]:
    budget = _budget()
    try:
        with budget.spending():
            found = overview.look(asked.period, asked.at or now, budget)
            newest = None if found.requests else _newest()
    except Moved:
        return {"figures_problem": MOVED}
    except OutOfTime:
        return {"figures_problem": _too_long()}
    return {
        "found": found,
        "figures": figures(found, links),
        "before": asked.before(found),
        "after": asked.after(found, now),
        "newest": newest and Asked(asked.period, newest),
    }


def _newest() -> datetime | None:
    return RequestLog.objects.order_by("-at").values_list("at", flat=True).first()


def _budget() -> TimeBudget:
    return TimeBudget(conf.current().query_time_budget)


def _too_long() -> str:
    seconds = conf.current().query_time_budget
    return (
        f"Counting took longer than the {seconds:g} s of TRACKING_QUERY_TIME_BUDGET. Choose a"
        " shorter period. Days and weeks are quick where the Huey worker counts the hours."
    )
