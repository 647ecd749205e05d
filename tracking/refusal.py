"""What a client is told of limits: the answer to a refusal, and how much is left of each.

The headers follow draft-ietf-httpapi-ratelimit-headers; the body is GraphQL, a problem of RFC 9457
or a page, by path and Accept header. docs/limits.md shows all of them.
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
from django.utils.cache import patch_vary_headers

from tracking import conf
from tracking.engine.limits import Key, State
from tracking.engine.verdict import Verdict
from tracking.engine.visit import Visit

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html"
PAGE = "tracking/limited.html"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


def answer(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    """Return the answer to a request that a limit refuses; `told` adds how the limits stand."""
    media_type = _media_type(request)
    if media_type == HTML:
        body = _page({"wait": _wait(verdict)})
    elif media_type == PROBLEM_JSON:
        body = json.dumps(_problem(request, verdict))
    else:
        body = json.dumps({"errors": [_graphql_error(verdict)]})
    response = HttpResponse(
        body, content_type=f"{media_type}; charset=utf-8", status=HTTPStatus.TOO_MANY_REQUESTS
    )
    response["Retry-After"] = str(verdict.retry_after)
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ("Accept",))
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
    return asked.get_preferred_type(offered)


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


def _page(context: dict[str, str]) -> str:
    """Return the page, which a project may replace by a template of the same name."""
    try:
        return str(get_template(PAGE).render(context))
    except TemplateDoesNotExist:  # the project does not look for templates in applications
        own = Path(__file__).parent / "templates" / PAGE
        return Engine().from_string(own.read_text()).render(Context(context))


def _wait(verdict: Verdict) -> str:
    seconds = verdict.retry_after
    if seconds <= 120:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = -(-seconds // 60)
    return f"{minutes} minutes"


def _states(request: HttpRequest) -> tuple[State, ...]:
    visit: Visit | None = getattr(request, "visit", None)
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
