"""What a client is told: the answer to a refusal, and how much is left of each limit.

The headers follow draft-ietf-httpapi-ratelimit-headers; the body is GraphQL, a problem of RFC 9457
or a page, by path and Accept header. docs/limits.md and docs/blocking.md show all of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import Context, Engine, TemplateDoesNotExist
from django.template.loader import get_template

from tracking import conf
from tracking.engine.limits import Key, State
from tracking.engine.verdict import Verdict, VerdictKind
from tracking.engine.visit import Visit

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"
LIMITED_PAGE = "tracking/limited.html"
BLOCKED_PAGE = "tracking/blocked.html"
BLOCKED = "Requests from your address are refused."
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_BLOCKED_PROBLEM = {
    "type": "about:blank",
    "title": "Forbidden",
    "status": HTTPStatus.FORBIDDEN,
    "detail": BLOCKED,
    "code": "IP_BLOCKED",
}
_REFERENCE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"  # stands where a page is to show the reference


def answer(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    """Return the answer to a request that a rule or a limit refuses.

    `told` adds how the limits stand; a client that is blocked is told nothing of them.
    """
    if verdict.kind is VerdictKind.BLOCKED:
        return _blocked(request)
    return _limited(request, verdict)


def _limited(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    media_type = _media_type(request)
    if media_type == HTML:
        body = _page(LIMITED_PAGE, wait=_wait(verdict))
    elif media_type == PROBLEM_JSON:
        body = json.dumps(_problem(request, verdict))
    else:
        body = json.dumps({"errors": [_graphql_error(verdict)]})
    response = _response(body, media_type, HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(verdict.retry_after)
    return response


def _blocked(request: HttpRequest) -> HttpResponse:
    """Return the answer to a blocked client: it names the request, and no rule."""
    reference = visit.request_id if (visit := _visit(request)) is not None else ""
    media_type = _media_type(request)
    if media_type == HTML:
        body = _blocked_page().replace(_REFERENCE, reference)
    elif media_type == PROBLEM_JSON:
        body = json.dumps(_BLOCKED_PROBLEM | {"reference": reference})
    else:
        extensions = {"code": "IP_BLOCKED", "reference": reference}
        body = json.dumps({"errors": [{"message": BLOCKED, "extensions": extensions}]})
    return _response(body, media_type, HTTPStatus.FORBIDDEN)


def _response(body: str, media_type: str, status: HTTPStatus) -> HttpResponse:
    response = HttpResponse(body, content_type=f"{media_type}; charset=utf-8", status=status)
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"  # Django's own middleware stands behind
    response["Vary"] = "Accept"
    response["Content-Length"] = str(len(response.content))  # else it is sent in chunks
    # It is on record; a flood is not also to fill Django's log, at twice the cost of the refusal.
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    return response


def told(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer with RateLimit-Policy and RateLimit, if a limit counted this request."""
    policies = _policies(filter(_is_shown, _states(request)))
    if policies:
        response["RateLimit-Policy"] = ", ".join(
            f'"{name}";q={state.rate.count};w={state.rate.seconds}'
            for name, state in policies.items()
        )
        response["RateLimit"] = ", ".join(
            f'"{name}";r={state.remaining};t={state.reset_after}'
            for name, state in policies.items()
        )
    return response


def _media_type(request: HttpRequest) -> str:
    accept = request.META.get("HTTP_ACCEPT", "*/*")
    if request.path_info.startswith(conf.current().graphql_paths):
        return _preferred(accept, (JSON, GRAPHQL_JSON)) or JSON
    return HTML if _preferred(accept, (PROBLEM_JSON, JSON, HTML)) == HTML else PROBLEM_JSON


@lru_cache(maxsize=256)
def _preferred(accept: str, offered: tuple[str, ...]) -> str | None:
    """Return the preferred type by Django's rules, without reading a request's other headers."""
    asked = HttpRequest()
    asked.META["HTTP_ACCEPT"] = accept
    try:
        return asked.get_preferred_type(offered)
    except ValueError:  # a parameter in an encoding that does not exist
        return None


def _graphql_error(verdict: Verdict) -> dict[str, Any]:
    return {
        "message": f"Too many requests. Try again in {_wait(verdict)}.",
        "extensions": {
            "code": "RATE_LIMITED",
            "retryAfter": verdict.retry_after,
            "limit": verdict.limit,
        },
    }


def _problem(request: HttpRequest, verdict: Verdict) -> dict[str, Any]:
    exceeded = (
        name
        for name, state in _policies(_states(request)).items()
        if state.limit == verdict.limit and state.exceeded
    )
    return {
        "type": QUOTA_EXCEEDED,
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": HTTPStatus.TOO_MANY_REQUESTS,
        "detail": f"Too many requests. Try again in {_wait(verdict)}.",
        "retryAfter": verdict.retry_after,
        "violated-policies": list(exceeded),
    }


def _page(name: str, **context: str) -> str:
    """Return a page, which a project may replace by a template of the same name."""
    try:
        return str(get_template(name).render(context))
    except TemplateDoesNotExist:  # the project does not look for templates in applications
        own = Path(__file__).parent / "templates" / name
        return Engine().from_string(own.read_text()).render(Context(context))


@lru_cache(maxsize=1)
def _blocked_page() -> str:
    return _page(BLOCKED_PAGE, reference=_REFERENCE)


def _wait(verdict: Verdict) -> str:
    seconds = verdict.retry_after
    if seconds <= 120:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = -(-seconds // 60)
    return f"{minutes} minutes"


def _visit(request: HttpRequest) -> Visit | None:
    return getattr(request, "visit", None)


def _states(request: HttpRequest) -> tuple[State, ...]:
    visit = _visit(request)
    return visit.limits if visit is not None else ()


def _policies(states: Iterable[State]) -> dict[str, State]:
    """Return the newest state of each rate, by the name of its policy.

    That is the limit's name, or `graphql-15m` where a limit has several rates.
    """
    newest = {(state.limit, state.rate): state for state in states}
    rates = Counter(limit for limit, _ in newest)
    return {
        limit if rates[limit] == 1 else f"{limit}-{rate.window}": state
        for (limit, rate), state in newest.items()
    }


def _is_shown(state: State) -> bool:
    """Tell whether a limit is in force and the client's own.

    An account's counter is not: whoever names an account would learn of others' attempts.
    """
    limit = conf.current().limits.get(state.limit)
    return limit is not None and not limit.observed and limit.key is not Key.ACCOUNT
