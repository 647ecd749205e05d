"""Lines of access logs in JSON: Caddy's, Traefik's, and any flat or nested kind by a field map.

Which of the two a line is shows by what it holds. A field map says which member of the line holds
which fact: {"at": "time", "address": "request.ip"} (a dot leads inside).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from tracking.engine.accesslog import (
    LineError,
    canonical_address,
    common_time,
    split_request,
)
from tracking.engine.text import escaped, redacted_query, redacted_url, split_target
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Record

# What a field map may name. `request` is a request line ("GET / HTTP/1.1") in the place of method
# and path; `duration` is in seconds, `duration_ms` in milliseconds.
FACTS = (
    "at", "address", "request", "method", "host", "path", "status", "duration", "duration_ms",
    "username", "user_agent", "referer",
)  # fmt: skip
LONGEST_DURATION_MS = 7 * 24 * 3600 * 1000.0  # what is longer is a mistake of somebody's clock

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC, as Record.at is written
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_CADDY_LOGGER = "http.log.access"

Line = dict[str, Any]


class FieldMapError(ValueError):
    """The field map cannot be used; the message says why."""


def read_field_map(text: str) -> dict[str, str]:
    """Return the map written `at=time,address=remote_addr,…`. Raises FieldMapError."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        fact, equals, member = (piece.strip() for piece in part.partition("="))
        if fact not in FACTS or not equals or not member:
            raise FieldMapError(f"{part!r} is not FACT=MEMBER; the facts are {', '.join(FACTS)}")
        if fact in fields:
            raise FieldMapError(f"{fact} is named twice")
        fields[fact] = member
    if missing := [fact for fact in ("at", "address", "status") if fact not in fields]:
        raise FieldMapError(f"name also what holds {' and '.join(missing)}")
    if "request" not in fields and not {"method", "path"} <= fields.keys():
        raise FieldMapError("name also what holds the request, or the method and the path")
    return fields


def parse_json_line(
    line: str,
    source: str,
    fields: Mapping[str, str] | None = None,
    *,
    keep_query: bool = False,
    secret_names: tuple[str, ...] = (),
) -> Record:
    """Return the record in one line of a log, read as Latin-1 so that no byte is lost.

    Without a field map the line is Caddy's or Traefik's. Raises LineError.
    """
    told = _loaded(line)
    facts = {fact: _member(told, name) for fact, name in fields.items()} if fields else _known(told)
    method, target = _request(facts)
    path, query = split_target(target)
    username = _text(facts.get("username"))
    return Record(
        at=_time(facts.get("at")),
        address=_address(facts.get("address")),
        method=method,
        host=_text(facts.get("host")),
        path=redacted_url(path, secret_names),
        query=redacted_query(query, secret_names) if keep_query else "",
        status=_status(facts.get("status")),
        duration_ms=_milliseconds(facts),
        user_pk="",
        username=escaped(username, 255),
        user_agent=_text(facts.get("user_agent")),
        referer=redacted_url(_text(facts.get("referer")), secret_names),
        request_id="",
        operations="",
        tags="",
        verdict=VerdictKind.ALLOWED.value,
        source=source,
    )


def _loaded(line: str) -> Line:
    try:
        told = json.loads(
            line.encode("latin-1").decode("utf-8", "surrogateescape"), parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        raise LineError("not a JSON object on one line") from None
    if not isinstance(told, dict):
        raise LineError("JSON, but not an object")
    return told


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _known(told: Line) -> dict[str, object]:
    if isinstance(told.get("request"), dict):
        return _caddy(told, told["request"])
    if "ClientHost" in told or "ClientAddr" in told:
        return _traefik(told)
    raise LineError(
        "JSON, but neither of Caddy's nor of Traefik's access log; name its members with --fields"
    )


def _caddy(told: Line, request: Line) -> dict[str, object]:
    logger = told.get("logger", _CADDY_LOGGER)
    if not (isinstance(logger, str) and logger.startswith(_CADDY_LOGGER)):
        raise LineError("a line of another log of Caddy's than the access log")
    headers = request.get("headers")
    return {
        "at": told.get("ts"),
        # client_ip is what Caddy makes of the headers of the proxies it is told to trust.
        "address": request.get("client_ip")
        or request.get("remote_ip")
        or request.get("remote_addr"),
        "method": request.get("method"),
        "host": request.get("host"),
        "path": request.get("uri"),
        "status": told.get("status"),
        "duration": told.get("duration"),
        "username": told.get("user_id"),
        "user_agent": _header(headers, "User-Agent"),
        "referer": _header(headers, "Referer"),
    }


def _traefik(told: Line) -> dict[str, object]:
    # ClientHost is the header X-Forwarded-For where there is one. Only its last address comes from
    # the proxy that Traefik talks to; those before it may be anybody's invention.
    host = told.get("ClientHost")
    nanoseconds = _number(told.get("Duration"))
    return {
        "at": told.get("StartUTC") or told.get("time"),
        "address": host.rpartition(",")[2] if isinstance(host, str) else told.get("ClientAddr"),
        "method": told.get("RequestMethod"),
        "host": told.get("RequestAddr") or told.get("RequestHost"),
        "path": told.get("RequestPath"),
        "status": told.get("DownstreamStatus", told.get("OriginStatus")),
        "duration": None if nanoseconds is None else nanoseconds / 1e9,
        "username": told.get("ClientUsername"),
        "user_agent": told.get("request_User-Agent"),
        "referer": told.get("request_Referer"),
    }


def _header(headers: object, name: str) -> object:
    values = headers.get(name) if isinstance(headers, dict) else None
    return values[0] if isinstance(values, list) and values else values


def _member(told: Line, name: str) -> object:
    if name in told:
        return told[name]
    found: object = told
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str:
    """Return a text as servers hand over headers: one character for each byte."""
    if not isinstance(value, str) or value == "-":
        return ""
    if value.isascii():
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:  # half of a character, escaped in the JSON
        return value.encode("utf-8", "backslashreplace").decode("latin-1")


def _request(facts: Mapping[str, object]) -> tuple[str, str]:
    if isinstance(facts.get("request"), str):
        return split_request(_text(facts["request"]))
    method, path = facts.get("method"), facts.get("path")
    if not isinstance(method, str) or not isinstance(path, str):
        raise LineError("the method or the path is missing or no text")
    known = method.isascii() and method.isalpha()
    return (method if known else "-"), _text(path)


def _status(value: object) -> int:
    status = _number(value)
    if status is None or status != int(status) or not 0 <= status <= 999:
        raise LineError("the status is missing or not a number of three digits")
    return int(status)


def _number(value: object) -> float | None:
    """Return a finite number, also one that is written as a text; None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _milliseconds(facts: Mapping[str, object]) -> float:
    """Return the duration, 0 when the line does not tell it, as for the formats without one."""
    seconds, duration = _number(facts.get("duration")), _number(facts.get("duration_ms"))
    if duration is None:
        duration = 0.0 if seconds is None else seconds * 1000
    return duration if 0 <= duration <= LONGEST_DURATION_MS else 0.0


def _address(value: object) -> str:
    if not isinstance(value, str) or len(value) > 64:
        raise LineError("the address is missing or no text")
    text = value.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # an IPv4 address and a port
        text = text.partition(":")[0]
    return canonical_address(text)


def _time(value: object) -> str:
    number = _number(value)
    if number is not None:
        return _epoch_time(number)
    if not isinstance(value, str) or len(value) > 64:
        raise LineError("the time is missing, or neither a number nor a text")
    if "/" in value:
        return common_time(value)
    try:
        moment = datetime.fromisoformat(value)
        local = moment.tzinfo is None
        text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    except (ValueError, OverflowError):
        raise LineError("the time is neither seconds since 1970 nor ISO 8601") from None
    if local:
        raise LineError("the time has no time zone")
    return text


def _epoch_time(number: float) -> str:
    """Read seconds since 1970; numbers too large for that are milli-, micro- or nanoseconds."""
    while number >= 1e11:  # the year 5138, in seconds
        number /= 1000
    if number < 0:
        raise LineError("the time is before 1970")
    return (_EPOCH + timedelta(seconds=number)).isoformat(" ")
