"""Where the link that `exportLogs` made is opened: the file, or a problem (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from graphql import GraphQLInputType, coerce_input_value
from strawberry.types.arguments import convert_argument

from schema import links
from schema.exports import PERMISSION
from schema.filters import RequestLogFilter, matching
from schema.root import schema
from tracking import attachment, guard
from tracking.export import Selection
from users import rest

ANOTHER = "Ask for another with exportLogs."


def export(request: HttpRequest) -> HttpResponseBase:
    """Answer with the file; the link alone says who asks, whatever else is sent along."""
    try:
        return answer(request)
    except rest.Problem as problem:
        return attachment.private(rest.answer(problem))


def answer(request: HttpRequest) -> HttpResponseBase:
    """Return the file. Raises Problem."""
    link = opened(request.GET.get("token", ""))
    request.user = link.user  # who is named in the record and in the audit log
    asked = filter_of(link)
    between = asked.at or None
    selection = Selection(
        condition=matching(asked, timezone.now()),
        since=(between and between.gte) or None,
        until=(between and between.lt) or None,
        asked=link.filter,
    )
    return attachment.answer(request, guard.actor_of(request), selection, link.format)


def opened(token: str) -> links.Link:
    """Return what a link asks for whose user still may. Raises Problem."""
    try:
        link = links.read(token)
    except links.OldLinkError:
        raise refused("TOKEN_EXPIRED", f"This link is too old. {ANOTHER}") from None
    except links.LinkError:
        raise refused("INVALID_TOKEN", f"This is no link of this service. {ANOTHER}") from None
    if not (link.user.is_active and link.user.has_perm(PERMISSION)):
        raise refused("FORBIDDEN", f"This needs the permission {PERMISSION}.")
    return link


def refused(code: str, detail: str) -> rest.Problem:
    return rest.Problem(HTTPStatus.FORBIDDEN, detail, code)


def filter_of(link: links.Link) -> RequestLogFilter:
    """Return the filter as a resolver gets it."""
    kind = cast("GraphQLInputType", schema.core.type_map[RequestLogFilter.__name__])
    asked: Any = convert_argument(
        coerce_input_value(link.filter, kind),
        RequestLogFilter,
        schema.schema_converter.scalar_registry,
        schema.config,
    )
    return cast("RequestLogFilter", asked)
