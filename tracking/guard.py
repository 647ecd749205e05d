"""One request's whole story: who comes, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from tracking import (
    background,
    conf,
    geo,
    ipstorage,
    journal,
    limiter,
    policy,
    recorder,
    requestids,
    visits,
)
from tracking.audit import Actor
from tracking.caller import classify, has_credential
from tracking.engine.limits import (
    ClientClass,
    Key,
    Limit,
    State,
    key_of_account,
    key_of_address,
    key_of_user,
)
from tracking.engine.verdict import ALLOWED, Verdict, VerdictKind
from tracking.engine.visit import Visit
from tracking.models import LoginAttempt

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
KNOWN_FOR = timedelta(days=30)  # an address after a login, to the account that was logged in to


def prepare() -> None:
    """Make ready for requests; a process does this once, before its first."""
    if conf.current().background_thread and policy.version() < 0:
        policy.load()


def open(request: HttpRequest) -> Verdict:  # noqa: A001 - a request is opened and closed
    """Hang what is known of a request on it, as `request.visit`, and decide whether it gets in.

    Never raises and asks no database: the rules are in memory.
    """
    began = time.perf_counter()
    try:
        background.ensure()
        visit = request.visit = visits.arrived(request)  # type: ignore[attr-defined]
        requestids.enter(visit.request_id)
        rules = policy.current()
        if rules.needs_place:
            visit.place = geo.locate(visit.address)
        visit.verdict = _enforced(rules.decide(visit, visit.at))
        visit.decision_seconds = time.perf_counter() - began
    except Exception:
        logger.exception("A request could be neither recorded nor decided on")
        return ALLOWED
    return visit.verdict


def close(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Put the request on record with its answer; the one exit of every request.

    Nothing here fails or delays the answer: what cannot be recorded is told in the log.
    """
    visit: Visit | None = getattr(request, "visit", None)
    if visit is None:
        return response
    response[REQUEST_ID_HEADER] = visit.request_id
    try:
        journal.mine().append(recorder.protected(visits.finished(visit, request, response)))
    except Exception:
        logger.exception("Request %s could not be recorded", visit.request_id)
    return response


def visit_of(request: HttpRequest) -> Visit:
    """Return what is known of a request; found out now where VisitMiddleware is not in use."""
    visit: Visit | None = getattr(request, "visit", None)
    if visit is None:
        visit = request.visit = visits.arrived(request)  # type: ignore[attr-defined]
    return visit


def actor_of(request: HttpRequest) -> Actor:
    """Return the signed-in user as the audit log names him."""
    user: Any = request.user
    address = visit_of(request).address
    return Actor(user.get_username(), str(user.pk), address, user.is_superuser)


def limit(
    request: HttpRequest,
    name: str,
    account: str = "",
    unless: Callable[[], bool] | None = None,
) -> Verdict:
    """Count one use of a limit by its name, and return what is to be done about it.

    `account`, in any spelling, is what a limit by account counts. `unless` is asked when the limit
    is exceeded, and says whether that does not matter this time. The verdict goes on record with
    the request. Raises KeyError for a name that is not in the table.
    """
    rule = conf.current().limits[name]
    visit = visit_of(request)
    client, key = _counted(rule, request, visit, account)
    verdict, states = limiter.check(rule, client, key)
    visit.limits += states
    if verdict.kind is VerdictKind.ALLOWED or (unless is not None and unless()):
        return ALLOWED
    verdict = _enforced(verdict)
    if not visit.verdict.refused:
        visit.verdict = verdict
    return verdict


def limits_by_path(request: HttpRequest) -> tuple[str, ...]:
    """Return the names of the limits that count a request because of its path."""
    configuration = conf.current()
    path, method = request.path_info, request.method or ""
    names = [rule.name for rule in configuration.limits.values() if rule.applies_to(path, method)]
    if names and path.startswith(configuration.graphql_paths) and _opens_page(request):
        return ()
    return tuple(names)


def limit_each(request: HttpRequest, names: Sequence[str]) -> Verdict:
    """Count one use of each of these limits, up to the first that is exceeded."""
    verdict = ALLOWED
    for name in names:
        verdict = limit(request, name)
        if verdict.refused:
            break
    return verdict


async def limit_each_async(request: HttpRequest, names: Sequence[str]) -> Verdict:
    """Do the same; what may wait for a database or Redis does not hold up the event loop."""
    if names and (has_credential(request) or conf.current().redis_url):
        return await sync_to_async(limit_each)(request, names)
    return limit_each(request, names)


def limit_login(request: HttpRequest, account: str) -> Verdict:
    """Count one attempt to log in to an account, before its password is looked at.

    The limit by account does not hold for addresses from which somebody has logged in to it within
    KNOWN_FOR, so that a stranger cannot lock the owner out; the limit by address holds for all.
    """
    visit = visit_of(request)
    visit.login = limit(request, "login_address")
    if not visit.login.refused:
        visit.login = limit(
            request, "login_account", account, unless=lambda: _knows(account, visit)
        )
    return visit.login


def take_login_verdict(request: HttpRequest) -> Verdict:
    """Return what the limits said of the last attempt to log in; whoever asks tells the client.

    LimitMiddleware asks when the view is done, and answers 429 to what no view has told.
    """
    visit: Visit | None = getattr(request, "visit", None)
    if visit is None:
        return ALLOWED
    verdict, visit.login = visit.login, ALLOWED
    return verdict


def limits_of(request: HttpRequest) -> tuple[State, ...]:
    """Return the state of each limit that applies to the caller, without counting anything."""
    visit = visit_of(request)
    states: tuple[State, ...] = ()
    for rule in conf.current().limits.values():
        if rule.key is not Key.ACCOUNT:
            client, key = _counted(rule, request, visit, "")
            states += limiter.check(rule, client, key, increment=False)[1]
    return states


def _enforced(verdict: Verdict) -> Verdict:
    """Return the verdict, or what becomes of it where nothing is to be refused."""
    if verdict.refused and not conf.current().enforces:
        return replace(verdict, kind=VerdictKind.OBSERVED)
    return verdict


def _counted(
    rule: Limit, request: HttpRequest, visit: Visit, account: str
) -> tuple[ClientClass, str]:
    """Return the class whose rates apply, and the key that is counted."""
    if rule.key is Key.ACCOUNT:
        return ClientClass.ANONYMOUS, key_of_account(account)
    if rule.key is Key.CALLER:
        client, user_pk = classify(request)
        if user_pk:
            return client, key_of_user(user_pk)
    return ClientClass.ANONYMOUS, key_of_address(visit.address, conf.current().ipv6_prefix)


def _opens_page(request: HttpRequest) -> bool:
    """Tell whether a browser opens a page and asks nothing, in the URL or in a body."""
    meta = request.META
    return (
        request.method == "GET"
        and not meta.get("QUERY_STRING")
        and meta.get("CONTENT_LENGTH") in {None, "", "0"}
        and "HTTP_TRANSFER_ENCODING" not in meta
        and _prefers_html(request)
    )


def _prefers_html(request: HttpRequest) -> bool:
    try:
        return request.get_preferred_type(("application/json", "text/html")) == "text/html"
    except ValueError:  # a parameter in an encoding that does not exist
        return False


def _knows(account: str, visit: Visit) -> bool:
    """Tell whether somebody has logged in to the account from about this address lately."""
    return (
        LoginAttempt.objects.to_account(account)
        .inside(ipstorage.client_of(visit.address))
        .filter(outcome=LoginAttempt.Outcome.SUCCEEDED, at__gte=timezone.now() - KNOWN_FOR)
        .exists()
    )
