"""Every parser takes any text: it answers, or raises what it says it raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema import ids, keyset, scalars
from schema.errors import Refusal
from tests.fuzz.inputs import fuzzed, near
from tracking import rulefiles
from tracking.engine.accesslog import LineError, parse_line
from tracking.engine.address import parse_address, parse_network
from tracking.engine.findings import read_change
from tracking.engine.forwarding import Proxies, client_address
from tracking.engine.jsonlog import FieldMapError, parse_json_line, read_field_map
from tracking.engine.limits import LimitError, parse_rates
from tracking.engine.ruletext import read_duration, read_target
from tracking.engine.text import escaped, normal_path, path_as_sent, printable
from users import tokens

EXAMPLES = 205
PROXIES = Proxies((parse_network("10.0.0.0/8"), parse_network("fd00::/8")))
DEFAULTS = rulefiles.Defaults()


@dataclass(frozen=True)
class Parser:
    """A parser, good inputs to begin with, and the errors that it declares."""

    read: Callable[[str], object]
    good: tuple[str, ...]
    errors: tuple[type[Exception], ...] = (ValueError,)


def rules(file_format: str) -> Callable[[str], object]:
    return lambda text: list(rulefiles.read(file_format, text.splitlines(True), DEFAULTS))


def unrefused(text: str) -> str:
    """Run all that makes a path fit to be kept and compared; none of it may raise."""
    path = path_as_sent(text)
    return escaped(normal_path(path), 255) + printable(text, 64)


JSON_LINE = (
    '{"ts": 1763000000.5, "status": 404, "duration": 0.01, "request": {"remote_ip": "192.0.2.1",'
    ' "method": "GET", "host": "example.org", "uri": "/a?b=c", "headers": {"User-Agent": ["x"]}}}'
)
LOG_LINE = '192.0.2.1 - bob [10/Oct/2025:13:55:36 -0700] "GET /a?b=c HTTP/1.1" 200 23 "-" "agent"'
PARSERS = {
    "address": Parser(parse_address, ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1")),
    "network": Parser(parse_network, ("192.0.2.0/24", "2001:db8::/32", "192.0.2.1")),
    "header": Parser(
        lambda text: client_address(PROXIES, "10.0.0.1", text),
        ("192.0.2.1, 10.0.0.2", 'for="[2001:db8::1]:80";proto=https', "192.0.2.1:80", "unknown"),
        (),
    ),
    "peer": Parser(lambda text: client_address(PROXIES, text, "192.0.2.1"), ("10.0.0.1", ""), ()),
    "path": Parser(unrefused, ("/a/%2e%2e/b;c=d//", "/admin/", "/\u00e9%c3%a9"), ()),
    "log line": Parser(lambda text: parse_line(text, "log"), (LOG_LINE,), (LineError,)),
    "JSON line": Parser(lambda text: parse_json_line(text, "log"), (JSON_LINE,), (LineError,)),
    "field map": Parser(
        read_field_map, ("address=ip,at=time,path=uri", "status=response.code"), (FieldMapError,)
    ),
    "target": Parser(read_target, ("192.0.2.0/24", "DE", "AS64500", "*", "2001:db8::1")),
    "duration": Parser(read_duration, ("4h", "PT1H", "7d", "15m", "never")),
    "rates": Parser(parse_rates, ("5/m", "5/m,50/h", "off", "10/15m"), (LimitError,)),
    "change of a detector": Parser(read_change, ("flood.requests=200", "burst.mode=OFF")),
    "plain rules": Parser(rules("plain"), ("192.0.2.1\nDE # why\n",), (rulefiles.FileError,)),
    "CSV rules": Parser(
        rules("csv"),
        ("target,action,methods\n192.0.2.1,BLOCK,GET\n", "target\nDE\n"),
        (rulefiles.FileError,),
    ),
    "JSON rules": Parser(
        rules("json"),
        ('[{"target": "192.0.2.1", "action": "BLOCK", "methods": ["GET"]}]',),
        (rulefiles.FileError,),
    ),
    "scalar IPAddress": Parser(scalars.read_address, ("192.0.2.1",)),
    "scalar IPNetwork": Parser(scalars.read_network, ("192.0.2.0/24",)),
    "scalar DateTime": Parser(scalars.read_time, ("2026-11-22T10:00:00Z",)),
    "scalar Duration": Parser(scalars.read_duration, ("PT1H", "4h", "P7DT2M")),
    "scalar CountryCode": Parser(scalars.read_country, ("de", "FR")),
    "node id": Parser(ids.read_id, ("UmVxdWVzdExvZzo1", "QWNjZXNzUnVsZTox"), (Refusal,)),
    "cursor": Parser(
        lambda text: keyset.read_cursor(text, "after"), ("MjAyNi0xMS0yMiA1",), (Refusal,)
    ),
}


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
@fuzzed(EXAMPLES)
def test_a_parser_answers_or_refuses_any_text(name: str, data: st.DataObject) -> None:
    parser = PARSERS[name]
    text = data.draw(near(*parser.good))
    try:
        parser.read(text)
    except parser.errors as error:
        assert str(error)  # says what is wrong
        assert not isinstance(error, UnicodeError), "an accident, not an answer"


@given(near("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAA", "a.b.c"))
@fuzzed(EXAMPLES)
@pytest.mark.django_db
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(tokens.TokenError):
        tokens.read_access(text)
