"""Lines of JSON that servers write, and what others send them to write."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracking.engine.accesslog import LineError
from tracking.engine.jsonlog import FieldMapError, parse_json_line, read_field_map
from tracking.engine.visit import Record

CADDY: dict[str, Any] = {
    "level": "info",
    "ts": 1646861401.5241024,
    "logger": "http.log.access",
    "msg": "handled request",
    "request": {
        "remote_ip": "198.51.100.9",
        "remote_port": "41342",
        "client_ip": "203.0.113.5",
        "proto": "HTTP/2.0",
        "method": "GET",
        "host": "example.org",
        "uri": "/a?token=1&q=2",
        "headers": {"User-Agent": ["curl/7.82.0"], "Referer": ["https://x.org/?pwd=x"]},
    },
    "user_id": "ada",
    "duration": 0.25,
    "size": 10900,
    "status": 404,
}
TRAEFIK: dict[str, Any] = {
    "ClientAddr": "198.51.100.9:1234",
    "ClientHost": "192.0.2.1, 203.0.113.5",
    "ClientUsername": "-",
    "DownstreamStatus": 404,
    "Duration": 250_000_000,
    "RequestAddr": "example.org",
    "RequestMethod": "GET",
    "RequestPath": "/a?token=1&q=2",
    "StartUTC": "2022-03-09T21:30:01.524102456Z",
    "request_User-Agent": "curl/7.82.0",
    "time": "2022-03-09T22:30:01+01:00",
}
NGINX = {
    "time": "2022-03-09T22:30:01+01:00",
    "remote_addr": "203.0.113.5",
    "request": "GET /a?token=1&q=2 HTTP/1.1",
    "status": "404",
    "request_time": "0.250",
    "http_user_agent": "curl/7.82.0",
}
FIELDS = read_field_map(
    "at=time,address=remote_addr,request=request,status=status,duration=request_time,"
    "user_agent=http_user_agent"
)


def parsed(told: object, fields: dict[str, str] | None = None) -> Record:
    return parse_json_line(json.dumps(told), "test", fields, keep_query=True)


@pytest.mark.parametrize(
    ("told", "fields"), [(CADDY, None), (TRAEFIK, None), (NGINX, FIELDS)], ids=lambda _: ""
)
def test_each_server_tells_the_same_request(told: object, fields: dict[str, str] | None) -> None:
    record = parsed(told, fields)
    assert record.at.startswith("2022-03-09 21:30:01")
    assert (record.address, record.method, record.path) == ("203.0.113.5", "GET", "/a")
    assert (record.query, record.status) == ("token=[redacted]&q=2", 404)
    assert (record.duration_ms, record.user_agent) == (250.0, "curl/7.82.0")


def test_caddy_tells_user_host_and_referer_too() -> None:
    record = parsed(CADDY)
    assert (record.username, record.host) == ("ada", "example.org")
    assert record.referer == "https://x.org/?pwd=[redacted]"
    assert record.at == "2022-03-09 21:30:01.524102"


def test_an_address_before_the_last_of_traefiks_header_is_nobodys_word() -> None:
    assert parsed(TRAEFIK | {"ClientHost": "127.0.0.1,2001:db8::1"}).address == "2001:db8::1"
    without = {name: value for name, value in TRAEFIK.items() if name != "ClientHost"}
    assert parsed(without).address == "198.51.100.9"


def test_a_map_leads_into_nested_members_and_prefers_a_member_with_a_dot_in_its_name() -> None:
    fields = read_field_map("at=t,address=client.ip,method=m,path=p,status=http.status")
    told = {"t": 1, "client": {"ip": "203.0.113.5"}, "m": "GET", "p": "/", "http.status": 200}
    assert parsed(told, fields).status == 200


@pytest.mark.parametrize(
    ("time", "at"),
    [
        (1646861401, "2022-03-09 21:30:01"),
        (1646861401500, "2022-03-09 21:30:01.500000"),
        (1646861401500000000, "2022-03-09 21:30:01.500000"),
        ("1646861401.5", "2022-03-09 21:30:01.500000"),
        ("09/Mar/2022:22:30:01 +0100", "2022-03-09 21:30:01"),
        ("2022-03-09T21:30:01.5Z", "2022-03-09 21:30:01.500000"),
    ],
)
def test_times_in_the_forms_servers_write_them(time: object, at: str) -> None:
    assert parsed(CADDY | {"ts": time}).at == at


@pytest.mark.parametrize("address", ["203.0.113.5:80", "[::ffff:203.0.113.5]:80", " 203.0.113.5 "])
def test_a_port_is_no_part_of_an_address(address: str) -> None:
    assert parsed(NGINX | {"remote_addr": address}, FIELDS).address == "203.0.113.5"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": "2022-03-09T21:30:01"}, {"ts": None}, {"ts": True}, {"ts": -1}, {"ts": "x" * 9999},
        {"ts": 10**400}, {"ts": "0001-01-01T00:00:00+23:00"}, {"ts": []},
        {"status": "abc"}, {"status": 1e9}, {"status": True}, {"status": 20.5}, {"status": None},
        {"logger": "http.log.error"}, {"logger": 5}, {"request": {}}, {"request": None},
        {"request": CADDY["request"] | {"client_ip": "localhost"}},
        {"request": CADDY["request"] | {"client_ip": ["203.0.113.5"]}},
        {"request": CADDY["request"] | {"method": None}},
        {"request": CADDY["request"] | {"uri": {"a": 1}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_fact_is_a_line_error(wrong: dict[str, object]) -> None:
    with pytest.raises(LineError):
        parsed(CADDY | wrong)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", '"x"', '{"status": NaN}', "[" * 60_000, '{"a":' * 9_000,
        '{"n": ' + "9" * 5000 + "}", "\xff\xfe{}", '{"ts": Infinity}',
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_is_no_json_object_is_a_line_error(text: str) -> None:
    with pytest.raises(LineError):
        parse_json_line(text, "test")


@pytest.mark.parametrize(
    "headers", [None, [], {"User-Agent": None}, {"User-Agent": []}, {"User-Agent": [[1]]}, "x"]
)
def test_headers_of_another_type_are_no_headers(headers: object) -> None:
    assert parsed(CADDY | {"request": CADDY["request"] | {"headers": headers}}).user_agent == ""


@pytest.mark.parametrize("duration", ["1.5ms", -1, 1e300, True, None, "9" * 5000])
def test_a_duration_nobody_can_read_is_none(duration: object) -> None:
    assert parsed(CADDY | {"duration": duration}).duration_ms == 0.0


def test_bytes_that_are_no_text_reach_the_record_as_they_came() -> None:
    raw = json.dumps(CADDY).encode().replace(b"curl/7.82.0", b"caf\xc3\xa9 \xff \\ud800")
    record = parse_json_line(raw.decode("latin-1"), "test")
    assert record.user_agent.encode("latin-1") == b"caf\xc3\xa9 \\udcff \\ud800"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "FACT=MEMBER"),
        ("at", "FACT=MEMBER"),
        ("at=", "FACT=MEMBER"),
        ("when=time", "the facts are at, address"),
        ("at=t,at=u", "twice"),
        ("at=t,request=r", "address and status"),
        ("at=t,address=a,status=s", "request"),
    ],
)
def test_a_field_map_that_cannot_work_says_what_it_lacks(text: str, sentence: str) -> None:
    with pytest.raises(FieldMapError, match=sentence):
        read_field_map(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*CADDY, *TRAEFIK]), _VALUES))
def test_whatever_stands_in_a_line_is_a_record_or_a_line_error(told: dict[str, object]) -> None:
    for base in (CADDY, TRAEFIK):
        with contextlib.suppress(LineError):
            assert parsed(base | told).source == "test"
    request = CADDY["request"] | told
    with contextlib.suppress(LineError):
        parsed(CADDY | {"request": request}).user_agent.encode("latin-1")


@given(st.text())
def test_any_text_is_a_record_or_a_line_error(text: str) -> None:
    with contextlib.suppress(LineError):
        parse_json_line(text.encode().decode("latin-1"), "test")


def test_traefik_tells_the_referer_and_else_the_status_of_the_origin() -> None:
    told = {**TRAEFIK, "request_Referer": "https://x.org/", "OriginStatus": 502}
    del told["DownstreamStatus"]
    assert (parsed(told).referer, parsed(told).status) == ("https://x.org/", 502)


def test_numbers_that_json_has_not_are_refused_wherever_they_stand() -> None:
    with pytest.raises(LineError):
        parsed({**TRAEFIK, "Overhead": float("nan")})


def test_a_time_without_zone_is_refused_in_words() -> None:
    with pytest.raises(LineError, match=r"^the time has no time zone$"):
        parsed({**TRAEFIK, "StartUTC": "2022-03-09T21:30:01"})


def test_large_numbers_are_parts_of_seconds() -> None:
    # 1e11 seconds would lie in the year 5138.
    assert parsed({**TRAEFIK, "StartUTC": 1e11}).at == "1973-03-03 09:46:40"
