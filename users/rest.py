"""Accounts over REST: JSON in, JSON or a problem (RFC 9457) out, the verbs of `accounts` beneath.

No cookie is a credential here: what acts for somebody asks for his bearer token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NoReturn

from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from users import accounts
from users.accounts import AccountError, Tokens
from users.middleware import has_expired, session_of
from users.models import Session, User

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
LONGEST_BODY = 65_536  # bytes
LONGEST_NAME = 64  # characters of a field's name that are repeated to the caller
STATUS = {
    "INVALID_CREDENTIALS": HTTPStatus.UNAUTHORIZED,
    "INVALID_TOKEN": HTTPStatus.UNAUTHORIZED,
    "SIGNUP_CLOSED": HTTPStatus.FORBIDDEN,
}  # of the errors of accounts; BAD_REQUEST of all others
Values = dict[str, Any]


@dataclass(eq=False)
class Problem(Exception):
    """Why a request gets no answer: for people `detail`, for programs `code`, and by field."""

    status: HTTPStatus
    detail: str
    code: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Field:
    """A member of the body; without a default it must be there."""

    name: str
    type: type = str
    default: object = None


def door(
    verb: Callable[[HttpRequest, Values], Values], status: HTTPStatus, *fields: Field
) -> Callable[[HttpRequest], HttpResponse]:
    """Return the view that calls a verb with the fields of a body, and answers with this status."""

    @csrf_exempt  # a cookie does nothing here
    def view(request: HttpRequest) -> HttpResponse:
        response: HttpResponse
        try:
            response = JsonResponse(verb(request, read(request, fields)), status=status)
        except Problem as problem:
            response = answer(problem)
        except AccountError as error:
            response = answer(problem_of(error))
        response["Cache-Control"] = "no-store"
        return response

    return view


def sign_up(request: HttpRequest, values: Values) -> Values:
    return {"user": shown(accounts.sign_up(**values, request=request))}


def log_in(request: HttpRequest, values: Values) -> Values:
    return granted(accounts.log_in(request, **values))


def refresh(request: HttpRequest, values: Values) -> Values:
    return granted(accounts.refresh(values["refreshToken"], request))


def log_out(request: HttpRequest, values: Values) -> Values:
    session = required_session(request)
    if values["everywhere"]:
        return {"sessionsEnded": accounts.log_out_everywhere(session.user, request)}
    return {"sessionsEnded": accounts.log_out(session, request)}


NAMED = (Field("username"), Field("password"))
signup = door(sign_up, HTTPStatus.CREATED, *NAMED, Field("email", default=""))
login = door(log_in, HTTPStatus.OK, *NAMED)
refreshed = door(refresh, HTTPStatus.OK, Field("refreshToken"))
logout = door(log_out, HTTPStatus.OK, Field("everywhere", bool, default=False))


def required_session(request: HttpRequest) -> Session:
    """Return the session of the bearer token. Raises Problem."""
    session = session_of(request) if "HTTP_AUTHORIZATION" in request.META else None
    if session is not None:
        return session
    if "HTTP_AUTHORIZATION" not in request.META:
        code, detail, challenge = "UNAUTHENTICATED", "Send an access token.", "Bearer"
    elif has_expired(request):
        code, detail = "TOKEN_EXPIRED", "The access token is too old: refresh it."
        challenge = 'Bearer error="invalid_token"'
    else:
        code, detail = "UNAUTHENTICATED", "This access token is not good any more: log in."
        challenge = 'Bearer error="invalid_token"'
    raise Problem(HTTPStatus.UNAUTHORIZED, detail, code, headers={"WWW-Authenticate": challenge})


def granted(tokens: Tokens) -> Values:
    return {
        "accessToken": tokens.access.text,
        "accessTokenExpiresAt": written(tokens.access.expires_at),
        "refreshToken": tokens.refresh,
        "refreshTokenExpiresAt": written(tokens.refresh_expires_at),
        "user": shown(tokens.session.user),
    }


def shown(user: User) -> Values:
    """Return what an account is told of itself."""
    return {"username": user.username, "email": user.email}


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def answer(problem: Problem) -> HttpResponse:
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": problem.errors,
    }
    return JsonResponse(
        {name: value for name, value in body.items() if value},
        status=problem.status,
        content_type=PROBLEM_JSON,
        headers=problem.headers,
    )


def problem_of(error: AccountError) -> Problem:
    status = STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
    return Problem(
        status,
        error.message,
        error.code,
        {error.field: [error.message]} if error.field else {},
        {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {},
    )


def read(request: HttpRequest, fields: tuple[Field, ...]) -> Values:
    """Return the value of each field of a request's body. Raises Problem."""
    if request.method != "POST":
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "Send a POST.", headers={"Allow": "POST"})
    body = received(request)
    optional = all(each.default is not None for each in fields)
    if optional and not body and not request.content_type:
        return {each.name: each.default for each in fields}
    if request.content_type != JSON:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Send {JSON}, and say so in the Content-Type.",
            headers={"Accept": JSON},
        )
    return checked(decoded(body), fields)


def received(request: HttpRequest) -> bytes:
    """Return the body, of which no more than one byte beyond the limit is read."""
    try:
        body: bytes = request.read(LONGEST_BODY + 1)
    except UnreadablePostError:
        refuse("The body did not arrive whole.")
    if len(body) > LONGEST_BODY:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has more than {LONGEST_BODY:,} bytes: send less.",
            "INVALID_INPUT",
        )
    return body


def decoded(body: bytes) -> dict[str, object]:
    """Return the JSON object in a body."""
    try:
        value: object = json.loads(body.decode())
        json.dumps(value, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except UnicodeError:
        refuse("The body is not text in UTF-8.")
    except RecursionError:
        refuse("The body is nested too deeply.")
    except ValueError:
        refuse("The body is not JSON.")
    if not isinstance(value, dict):
        refuse("The body is not a JSON object.")
    return value


def checked(found: dict[str, object], fields: tuple[Field, ...]) -> Values:
    """Return the fields by name, where each is there, has its type, and no other is."""
    values: Values = {}
    errors = {name[:LONGEST_NAME]: ["There is no such field."] for name in unknown(found, fields)}
    for each in fields:
        value = each.default if found.get(each.name) is None else found[each.name]
        if value is None:
            errors[each.name] = ["This field is required."]
        elif not isinstance(value, each.type):
            errors[each.name] = [f"Write {'text' if each.type is str else 'true or false'}."]
        values[each.name] = value
    if errors:
        refuse("Some fields cannot be used: see errors.", errors)
    return values


def unknown(found: dict[str, object], fields: tuple[Field, ...]) -> Iterator[str]:
    known = {each.name for each in fields}
    return (name for name in found if name not in known)


def refuse(detail: str, errors: dict[str, list[str]] | None = None) -> NoReturn:
    raise Problem(HTTPStatus.BAD_REQUEST, detail, "INVALID_INPUT", errors or {})
