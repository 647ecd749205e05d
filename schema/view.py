"""GraphQL over HTTP: one request's whole story.

Follows https://graphql.github.io/graphql-over-http/draft/; docs/graphql-http.md says what this
service chose where the specification leaves a choice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt
from graphql import GraphQLError, OperationType

from schema import graphiql
from schema.cost import limits, weigh
from schema.documents import Document, prepare
from schema.errors import Code, Refusal, readable
from schema.negotiation import preferred
from schema.parameters import JSON, Parameters, Rejection, read
from schema.permissions import must_log_in
from schema.root import Context, schema

GRAPHQL_JSON = "application/graphql-response+json"
HTML = "text/html"
METHODS = "GET, POST, OPTIONS"


@csrf_exempt  # `authenticate` asks for the token where a cookie is the credential
def graphql(request: HttpRequest) -> HttpResponse:
    """Answer one request; whatever happens, the answer has GraphQL's shape."""
    try:
        return answer(request)
    except Rejection as rejection:
        response = respond(request, JSON, [rejection.error], status=rejection.status)
        if rejection.allow:
            response["Allow"] = rejection.allow
        return response
    except SuspiciousOperation:
        refusal = Refusal(Code.BAD_USER_INPUT, "The request cannot be read.")
        return respond(request, JSON, [refusal], status=HTTPStatus.BAD_REQUEST)
    except Exception as error:  # noqa: BLE001
        wrapped = GraphQLError(str(error), original_error=error)
        return respond(request, JSON, [wrapped], status=HTTPStatus.INTERNAL_SERVER_ERROR)


def answer(request: HttpRequest) -> HttpResponse:
    if request.method == "OPTIONS":
        return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Allow": METHODS})
    if request.method not in {"GET", "POST"}:
        raise not_allowed("Ask by GET or POST.", METHODS)
    media_type = negotiate(request)
    authenticate(request)
    if media_type == HTML:
        return page(request)
    return execute(request, media_type, read(request))


def not_allowed(message: str, methods: str) -> Rejection:
    return Rejection(HTTPStatus.METHOD_NOT_ALLOWED, Code.BAD_USER_INPUT, message, methods)


def negotiate(request: HttpRequest) -> str:
    """Return the media type of the answer; a page is offered where nothing is asked."""
    is_question = request.method == "POST" or "query" in request.GET
    offered = (JSON, GRAPHQL_JSON) if is_question else (JSON, GRAPHQL_JSON, HTML)
    chosen = preferred(request.META.get("HTTP_ACCEPT") or "*/*", offered)
    if chosen is None:
        raise Rejection(
            HTTPStatus.NOT_ACCEPTABLE,
            Code.BAD_USER_INPUT,
            f"Accept {GRAPHQL_JSON} or {JSON}: nothing else is answered here.",
        )
    return chosen


def page(request: HttpRequest) -> HttpResponse:
    if not graphiql.allowed(request):
        raise Rejection(
            HTTPStatus.NOT_FOUND, Code.FORBIDDEN, "There is no page here for you: send a query."
        )
    return graphiql.page(request)


class CsrfCheck(CsrfViewMiddleware):
    """Django's own check, whose refusal is the reason and not a page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def authenticate(request: HttpRequest) -> None:
    """Settle whose request this is.

    A session counts only where no Authorization header came with it, and a POST must then prove
    by Django's token that it was not sent by another site. Without either credential the caller
    is anonymous, and neither the user nor the session is looked at for him.
    """
    if "HTTP_AUTHORIZATION" in request.META:
        return  # BearerMiddleware has settled it
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        request.user = AnonymousUser()
        return
    reason = CsrfCheck(graphql).process_view(request, answer, (), {})
    if reason is not None:
        raise Rejection(
            HTTPStatus.FORBIDDEN,
            Code.FORBIDDEN,
            f"{reason} Send the value of the cookie {settings.CSRF_COOKIE_NAME} in X-CSRFToken.",
        )


def execute(request: HttpRequest, media_type: str, asked: Parameters) -> HttpResponse:
    """Run what is asked, if it may run."""
    try:
        document = prepare(asked.query)
        operation = document.operation(asked.operation_name)
    except GraphQLError as error:
        return refuse(request, media_type, [error])
    visit = getattr(request, "visit", None)
    if visit is not None:
        visit.operations = document.names(operation)
    if request.method == "GET" and operation.operation is not OperationType.QUERY:
        raise not_allowed("Only queries run by GET: send this by POST.", "POST")
    errors = document.errors or objections(request, document, asked.variables)
    if errors:
        return refuse(request, media_type, errors)
    result = schema.execute_sync(
        asked.query,
        variable_values=asked.variables,
        operation_name=asked.operation_name,
        context_value=Context(request, document.parsed),
    )
    failed = result.errors or []
    if result.data is None and any(not error.path for error in failed):
        return refuse(request, media_type, failed, Code.BAD_USER_INPUT)
    return respond(request, media_type, failed, Code.BAD_USER_INPUT, data=result.data)


def objections(
    request: HttpRequest, document: Document, variables: Mapping[str, object]
) -> list[Refusal]:
    """Return why this caller may not run a valid document with these variables."""
    is_open = getattr(settings, "GRAPHQL_OPEN_INTROSPECTION", settings.DEBUG)
    if document.introspects and not is_open and not request.user.is_authenticated:
        return [must_log_in(request, "read the schema")]
    if document.sized_by_variables:
        try:
            weigh(document.parsed, variables, limits())
        except Refusal as refusal:
            return [refusal]
    return []


def refuse(
    request: HttpRequest,
    media_type: str,
    errors: Sequence[GraphQLError],
    code: Code = Code.GRAPHQL_VALIDATION_FAILED,
) -> HttpResponse:
    """Return the answer to a document that did not run: 400, or 200 to old clients.

    The specification keeps 200 for `application/json`, because a proxy may answer that type, too.
    """
    status = HTTPStatus.OK if media_type == JSON else HTTPStatus.BAD_REQUEST
    return respond(request, media_type, errors, code, status=status)


def respond(
    request: HttpRequest,
    media_type: str,
    errors: Sequence[GraphQLError],
    code: Code = Code.GRAPHQL_VALIDATION_FAILED,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    **entries: Any,
) -> HttpResponse:
    """Return one answer; `entries` is `data`, or nothing where nothing ran."""
    if errors:
        reference = getattr(getattr(request, "visit", None), "request_id", "") or uuid.uuid4().hex
        entries["errors"] = list(readable(errors, code, str(reference)))
    text = json.dumps(entries, separators=(",", ":"), allow_nan=False)
    response = HttpResponse(text, content_type=f"{media_type}; charset=utf-8", status=status)
    response["Cache-Control"] = "no-store"
    return response
