"""Lines of nginx's and Apache's access logs: the common and the combined format.

    host ident user [time] "request" status bytes                          common
    host ident user [time] "request" status bytes "referer" "user agent"   combined

Whatever follows is ignored, since both servers let people append fields of their own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from tracking.engine.address import AddressError, parse_address
from tracking.engine.text import escaped, redacted_query, redacted_url, split_target
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Record

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rf"(\S+) \S+ (.*?) \[([^\]]{{1,40}})\] {_QUOTED} (\d{{3}}) (?:\d+|-)"
    rf"(?: {_QUOTED} {_QUOTED}(?: .*)?)?\s*",
    re.DOTALL,
)
_TIME = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "v": "\v", "f": "\f"}


class LineError(ValueError):
    """The line is not in a known format; the message says which part is wrong."""


def parse_line(
    line: str, source: str, *, keep_query: bool = False, secret_names: tuple[str, ...] = ()
) -> Record:
    """Return the record in one line of a log, read as Latin-1 so that no byte is lost.

    A request that is no HTTP (a TLS greeting on a plain port, say) stands as it came in `path`,
    with the method "-". Raises LineError.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise LineError("neither the common nor the combined log format")
    host, user, time, request, status, referer, agent = match.groups(default="-")
    method, target = split_request(_unescaped(request))
    path, query = split_target(target)
    return Record(
        at=common_time(time),
        address=canonical_address(host),
        method=method,
        host="",
        path=redacted_url(path, secret_names),
        query=redacted_query(query, secret_names) if keep_query else "",
        status=int(status),
        duration_ms=0.0,
        user_pk="",
        username="" if user == "-" else escaped(_unescaped(user), 255),
        user_agent="" if agent == "-" else _unescaped(agent),
        referer="" if referer == "-" else redacted_url(_unescaped(referer), secret_names),
        request_id="",
        operations="",
        tags="",
        verdict=VerdictKind.ALLOWED.value,
        source=source,
    )


def split_request(text: str) -> tuple[str, str]:
    """Return method and target of a request line; what is no HTTP has the method "-"."""
    method, space, rest = text.partition(" ")
    target, space, protocol = rest.rpartition(" ")
    if not (space and protocol.startswith("HTTP/") and method.isalpha() and method.isascii()):
        return "-", text
    return method, target


@lru_cache(maxsize=4096)
def common_time(text: str) -> str:
    """Return the time of the common format as Record.at has it. Raises LineError."""
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        raise LineError("the time is not of the form 17/May/2015:10:05:00 +0000")
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        local = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute),
            min(int(second), 59), tzinfo=zone,  # a leap second is told as the one before it
        )  # fmt: skip
        return local.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    except (ValueError, OverflowError):
        raise LineError("the time does not exist") from None


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """Return an address in its one form. Raises LineError."""
    try:
        return str(parse_address(text))
    except AddressError:
        raise LineError("the client is not an address (are host names looked up?)") from None


def _unescaped(text: str) -> str:
    r"""Undo the servers' escapes: `\xHH` in both, `\"`, `\\` and `\n` in Apache."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    code, plain = match.groups()
    return chr(int(code, 16)) if code else _CONTROLS.get(plain, plain)
