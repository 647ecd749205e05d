"""Whatever a client sends can be kept, and no secret is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.text import (
    escaped,
    is_secret,
    normal_path,
    path_as_sent,
    redacted_query,
    redacted_url,
)


@pytest.mark.parametrize(
    "spelling",
    [
        "/admin",
        "/ADMIN",
        "//admin",
        "/%61dmin",
        "/%2561dmin",
        "/x/../admin",
        "/admin;x",
        "/admin/.",
        "/admin/",
        "\\admin",
        "/./admin",
        "/../../admin",
        "/a/b/../..//ADMIN;v=1/./",
        "/%2e%2e/admin",
    ],
)
def test_every_spelling_of_a_sensitive_path_is_one_path(spelling: str) -> None:
    assert normal_path(spelling) == "/admin"


@given(st.text(max_size=300))
def test_every_text_becomes_one_printable_line(text: str) -> None:
    for kept in (escaped(text, 100), normal_path(text, 100)):
        assert len(kept) <= 100
        assert kept.isprintable()
        kept.encode("utf-8")
    assert path_as_sent(text, 100).isascii()
    assert path_as_sent(text, 100).isprintable()


@given(st.binary(max_size=100))
def test_every_byte_of_a_header_can_be_stored(raw: bytes) -> None:
    escaped(raw.decode("latin-1"), 500).encode("utf-8")


def test_utf8_in_a_header_is_readable() -> None:
    assert escaped("Grüße".encode().decode("latin-1"), 99) == "Grüße"


def test_controls_surrogates_and_direction_marks_are_escaped() -> None:
    assert escaped("a\x00b\r\n\x1b[31m\u202e\ud800", 99) == r"a\x00b\x0d\x0a\x1b[31m\u202e\ud800"


def test_a_path_keeps_its_own_escapes_and_gets_them_for_the_rest() -> None:
    assert path_as_sent("/%41/é \x00") == "/%41/%E9%20%00"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PassWord",
        "user_password",
        "old-passwd",
        "access_token",
        "refreshToken",
        "api_key",
        "code",
        "otp",
        "pin",
        "X-Amz-Signature",
        "client_secret",
        "sessionid",
        "csrfmiddlewaretoken",
        "jwt",
        "auth",
        "pass%77ord",
        "p%61ss",
        "%74oken",
        "key",
        "sid",
        "authorization",
    ],
)
def test_a_secret_is_known_by_its_name_in_any_spelling(name: str) -> None:
    assert redacted_query(f"a=1&{name}=hunter2&b=2") == f"a=1&{name}=[redacted]&b=2"


@pytest.mark.parametrize(
    "name", ["q", "page", "spinner", "encode", "monkey", "passenger", "compass"]
)
def test_ordinary_parameters_stay(name: str) -> None:
    assert not is_secret(name)


def test_names_of_ones_own_can_be_added() -> None:
    assert redacted_query("iban=DE1", ("iban",)) == "iban=[redacted]"


def test_a_url_loses_its_password_and_its_secrets_everywhere() -> None:
    url = "https://bob:hunter2@example.org/a;jsessionid=1F/b?token=t&x=1#access_token=z&y=2"
    assert redacted_url(url) == (
        "https://example.org/a;jsessionid=[redacted]/b?token=[redacted]&x=1"
        "#access_token=[redacted]&y=2"
    )


@given(st.text(alphabet="abc=&?#;/@%=tokenpswrd", max_size=80))
def test_redaction_never_raises_and_is_settled_after_one_pass(url: str) -> None:
    once = redacted_url(url)
    assert redacted_url(once) == once
