"""What a GraphQL over HTTP request asks for, read from the URL or the body.

Everything here comes from outside and is refused as a whole when it is not what the specification
describes: https://graphql.github.io/graphql-over-http/draft/#sec-Request
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from django.http import HttpRequest, UnreadablePostError

from schema.cost import limits
from schema.errors import Code, Refusal

JSON = "application/json"


class Rejection(Exception):
    """The end of a request before any document runs: a status, and the error to say why."""

    def __init__(self, status: HTTPStatus, code: Code, message: str, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = Refusal(code, message)
        self.allow = allow


@dataclass(frozen=True, slots=True)
class Parameters:
    """The request parameters of GraphQL over HTTP; `extensions` are accepted and ignored."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


def read(request: HttpRequest) -> Parameters:
    """Return what is asked by GET in the URL, by POST in the body. Raises Rejection."""
    if request.method == "GET":
        return checked(in_url(request))
    return checked(in_body(request))


def in_url(request: HttpRequest) -> dict[str, object]:
    if len(request.META.get("QUERY_STRING", "")) > limits().body_bytes:
        reject(f"The URL is longer than {limits().body_bytes:,} bytes: ask by POST.")
    found: dict[str, object] = dict(request.GET.items())
    for name in ("variables", "extensions"):
        text = found.get(name)
        if isinstance(text, str):
            found[name] = decoded(text, name) if text else None
    return found


def in_body(request: HttpRequest) -> dict[str, object]:
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type != JSON or charset not in {"utf-8", "utf8"}:
        raise Rejection(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            Code.BAD_USER_INPUT,
            f"Send the request as {JSON} in UTF-8, and say so in its Content-Type.",
        )
    try:
        text = body(request).decode()
    except UnicodeDecodeError:
        reject("The body is not UTF-8.")
    found = decoded(text, "body")
    if not isinstance(found, dict):
        reject("The body must be one JSON object with a `query`; batches are not answered.")
    return found


def body(request: HttpRequest) -> bytes:
    """Return the body, of which never more than the limit is read."""
    limit = limits().body_bytes
    try:
        found: bytes = request.read(limit + 1) if declared_length(request) <= limit else b""
    except UnreadablePostError:
        reject("The body did not arrive whole.")
    if len(found) > limit or declared_length(request) > limit:
        reject(f"The body is longer than {limit:,} bytes: send a shorter request.")
    if not found:  # WSGI servers hand on nothing of a body that came in chunks
        reject("The body is empty: send a JSON object, with its Content-Length.")
    return found


def declared_length(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def decoded(text: str, name: str) -> object:
    """Return the value of this JSON text; `name` tells the caller which one is wrong."""
    try:
        value: object = json.loads(text, parse_constant=refuse_constant)
        if "\\u" in text:  # the only way in for half a surrogate pair, which is no character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        reject(f"The {name} has an unpaired surrogate.")
    except RecursionError:
        reject(f"The {name} is nested too deeply.")
    except ValueError:
        reject(f"The {name} is not JSON.")
    return value


def refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity, which Python reads and JSON does not have


def checked(found: Mapping[str, object]) -> Parameters:
    """Return the parameters where each has the type it must have."""
    query = found.get("query")
    if not isinstance(query, str) or not query.strip():
        reject("The parameter `query` must be the text of a GraphQL document.")
    name = found.get("operationName")
    if name is not None and not isinstance(name, str):
        reject("The parameter `operationName` must be text or null.")
    for each in ("variables", "extensions"):
        if not isinstance(found.get(each), dict | None):
            reject(f"The parameter `{each}` must be an object or null.")
    variables: Any = found.get("variables") or {}
    if depth_over(variables, limits().variables_depth):
        reject(f"The variables are nested more than {limits().variables_depth} levels deep.")
    return Parameters(query, name or None, variables)


def depth_over(value: object, limit: int) -> bool:
    """Return whether objects and lists are nested deeper than `limit`."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def reject(message: str) -> NoReturn:
    raise Rejection(HTTPStatus.BAD_REQUEST, Code.BAD_USER_INPUT, message)
