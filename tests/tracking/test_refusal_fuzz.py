"""No request is strange enough to be let in by mistake, or to break its refusal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracking import policy
from tracking.engine.rules import Rule, RuleAction

latin = st.text(st.characters(max_codepoint=255), max_size=60)
sent = st.one_of(
    latin,
    st.sampled_from(
        [
            *("", " ", "\x00", "%", "%ff", "//", "/../", "http://[", "http://[::1", "?", "#", "*"),
            *("a" * 9000, "text/html;q=x", "a/b; c*=x''y", ",;,;", "é/é;q=é", "[::1]:80", "@", ":"),
            *("for=", 'for="[', "203.0.113.7,", "::ffff:203.0.113.7", "::1%0", "1.2.3.4:80"),
        ]
    ),
)
HEADERS = ("HOST", "ACCEPT", "USER_AGENT", "REFERER", "X_FORWARDED_FOR", "FORWARDED", "ORIGIN",
           "AUTHORIZATION", "COOKIE", "X_FORWARDED_PROTO", "TRANSFER_ENCODING",
           "ACCESS_CONTROL_REQUEST_METHOD", "IF_MODIFIED_SINCE")  # fmt: skip


@pytest.fixture(autouse=True)
def one_block() -> None:
    policy._rules.put("ADDRESS", "203.0.113.7", Rule(1, RuleAction.BLOCK))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.one_of(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", ""]), latin),
    path=sent,
    raw=st.one_of(st.none(), sent),
    query=sent,
    headers=st.dictionaries(st.sampled_from(HEADERS), sent),
    length=sent,
)
def test_who_is_blocked_is_refused_whatever_he_sends(
    method: str,
    path: str,
    raw: str | None,
    query: str,
    headers: dict[str, str],
    length: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": length,
        "CONTENT_TYPE": "application/json",
        "REMOTE_ADDR": "203.0.113.7",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(b"{}"),
        "wsgi.url_scheme": "http",
        **{f"HTTP_{name}": value for name, value in headers.items()},
    }
    if raw is not None:
        environ["RAW_URI"] = raw
    said: list[str] = []
    answer = WSGIHandler()(environ, lambda status, _: said.append(status))
    body = b"".join(answer)
    answer.close()
    assert said[0].startswith("403")
    assert body
    assert caplog.records == []
