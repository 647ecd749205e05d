"""Lines that nginx and Apache write, and what others send them to write."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.accesslog import LineError, parse_line
from tracking.engine.visit import Record

COMBINED = (
    '203.0.113.5 - ada [17/May/2015:12:05:03 +0200] "GET /a%20b?token=1&q=2 HTTP/1.1" 404 25'
    ' "https://example.org/?pwd=x" "Mozilla/5.0 (\\"quoted\\")"'
)


def parsed(line: str) -> Record:
    return parse_line(line, "test")


def test_a_combined_line_gives_all_it_holds() -> None:
    record = parsed(COMBINED)
    assert record.at == "2015-05-17 10:05:03"
    assert (record.address, record.username) == ("203.0.113.5", "ada")
    assert (record.method, record.path, record.query, record.status) == ("GET", "/a%20b", "", 404)
    assert record.referer == "https://example.org/?pwd=[redacted]"
    assert record.user_agent == 'Mozilla/5.0 ("quoted")'
    assert record.source == "test"


def test_a_common_line_has_neither_referer_nor_agent() -> None:
    record = parsed('::ffff:203.0.113.5 - - [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 200 -')
    assert (record.address, record.method, record.referer) == ("203.0.113.5", "HEAD", "")


def test_fields_behind_the_format_are_ignored() -> None:
    assert parsed(COMBINED + ' "198.51.100.1" rt=0.003') == parsed(COMBINED)


def test_the_query_is_kept_on_demand_without_its_secrets() -> None:
    assert parse_line(COMBINED, "test", keep_query=True).query == "token=[redacted]&q=2"


@pytest.mark.parametrize(
    ("request_line", "method", "path"),
    [
        ("-", "-", "-"),
        ("", "-", ""),
        (r"\x16\x03\x01", "-", "\x16\x03\x01"),
        ("GET http://example.org:80/x?y HTTP/1.1", "GET", "/x"),
        ("GET /with space HTTP/1.1", "GET", "/with space"),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*"),
    ],
)
def test_odd_requests_are_kept_as_they_came(request_line: str, method: str, path: str) -> None:
    line = f'192.0.2.1 - - [17/May/2015:10:05:03 +0000] "{request_line}" 400 0 "-" "-"'
    assert (parsed(line).method, parsed(line).path) == (method, path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "format"),
        ("garbage", "format"),
        (COMBINED.replace("203.0.113.5", "host.example"), "not an address"),
        (COMBINED.replace("17/May/2015", "2015-05-17"), "form 17/May/2015"),
        (COMBINED.replace("17/May", "31/Feb"), "does not exist"),
        (COMBINED.replace("+0200", "+9999"), "does not exist"),
        (COMBINED.replace("/2015", "/0000"), "does not exist"),
        (COMBINED.replace(" 404 ", " 4x4 "), "format"),
        (COMBINED.replace("17/May/2015", "١٧/May/2015"), "form 17/May/2015"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str, reason: str) -> None:
    with pytest.raises(LineError, match=reason):
        parsed(line)


@given(st.text(alphabet='0123456789."\\[] -:/+xGETHP', max_size=200))
def test_no_line_raises_anything_but_the_declared_error(line: str) -> None:
    with contextlib.suppress(LineError):
        parsed(line)


@pytest.mark.parametrize(
    "line",
    [
        "1.2.3.4 - " + "[" * 60_000,
        '1.2.3.4 - - [x] "' + '\\"' * 30_000,
        "1.2.3.4 - " + " [x]" * 15_000,
    ],
)
def test_no_line_takes_more_than_linear_time(line: str) -> None:
    before = time.process_time()
    with pytest.raises(LineError):
        parsed(line)
    assert time.process_time() - before < 0.25


def test_who_gave_no_name_has_none_and_was_let_in() -> None:
    record = parsed('203.0.113.5 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1')
    assert (record.username, record.verdict) == ("", "ALLOWED")
