"""Whatever a client sends can be kept, and no secret is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.text import (
    escaped,
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
    assert redacted_query(f"{name}=1&x=2") == f"{name}=1&x=2"


@pytest.mark.parametrize(
    "query",
    [
        "a=1;password=hunter2",
        "next=%2Flogin%3Fpassword%3Dhunter2",
        "next=%252Flogin%253Fpassword%253Dhunter2",
        "pass%2577ord=hunter2",
        "user[pass]=hunter2",
        "user%5Bpin%5D=hunter2",
        "PASS-WORD=hunter2",
        "api_key=hunter2",
        'variables={"a": 1, "pwd": "hunter2"}',
        'variables={"v": "hunter2"}',
        "data=%7B%22password%22%3A%22hunter2;hunter2%22%7D",
        '{"password":"hunter2=hunter2"}',
        'query=mutation{login(username:"a",password:"hunter2"){token}}',
        "url=https%3A%2F%2Fbob%3Ahunter2%40example.org",
        "password%3Dhunter2=1",
        "&".join(["a=1"] * 200) + "&token=hunter2",
    ],
)
def test_no_secret_hides_in_another_value_or_spelling(query: str) -> None:
    assert "hunter2" not in redacted_query(query)
    assert "hunter2" not in redacted_url(f"/x#{query}")
    assert "hunter2" not in redacted_url(f"https://example.org/?{query}")


@pytest.mark.parametrize(
    "url",
    [
        "https://bob:hunter2@hunter2@example.org/",
        "//bob:hunter2@example.org/",
        "/login%3Fpassword=hunter2",
        "/login%3Fpassword%3Dhunter2",
        "/a;v=1;SID=hunter2/b",
        "/callback&code=1&token=hunter2",
    ],
)
def test_no_secret_hides_in_a_path(url: str) -> None:
    assert "hunter2" not in redacted_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "/password/change/?next=/account",
        "/v1/tokens/7:revoke",
        "https://token.example.org:8443/a@b",
        "/a//b@c",
        "/q?text=the+key+to+success",
    ],
)
def test_words_that_carry_no_secret_stay(url: str) -> None:
    assert redacted_url(url) == url


@pytest.mark.parametrize(
    "hostile",
    [
        "token" * 819,
        "password'" * 400,
        "p=1&" * 1000 + "token=1",
        "%25" * 1365,
        "%70" * 1365,
        "//" * 2048,
        ";".join(f"{n:03x}=1" for n in range(800)),
    ],
)
def test_redaction_takes_a_hostile_header_no_time_to_speak_of(hostile: str) -> None:
    before = time.thread_time()
    redacted_url(hostile)
    redacted_query(hostile)
    assert time.thread_time() - before < 0.02


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


def test_a_path_to_match_has_a_longest_length() -> None:
    assert normal_path("/" + "a" * 5000) == "/" + "a" * 2047
