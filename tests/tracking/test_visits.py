"""Every answer leaves exactly one row, with the facts of its request and none of its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, Client
from pytest_django import DjangoAssertNumQueries, Settings

from tracking import drainer, journal, visits
from tracking.models import RequestLog
from users.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.tracking.app")]


FORGEABLE = [
    "x-forwarded-for",
    "x-forwarded",
    "x-real-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "fastly-client-ip",
    "x-cluster-client-ip",
]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def recorded() -> RequestLog:
    drainer.drain()
    return RequestLog.objects.get()


ANSWERS = [
    ("/status/200/", 200),
    ("/status/204/", 204),
    ("/status/302/", 302),
    ("/status/418/", 418),
    ("/status/503/", 503),
    ("/bug/", 500),
    ("/forbidden/", 403),
    ("/missing/", 404),
    ("/nowhere/at/all", 404),
    ("/stream/", 200),
    ("/async/", 200),
    ("/admin/", 302),
    ("/admin", 301),
    ("/static/none.css", 404),
]


@pytest.mark.parametrize(("path", "status"), ANSWERS)
def test_every_answer_is_one_row_with_the_id_the_client_saw(
    client: Client, path: str, status: int
) -> None:
    response = client.get(path)
    row = recorded()
    assert (response.status_code, row.status, row.path) == (status, status, path)
    assert response["X-Request-ID"] == row.request_id
    assert row.duration_ms > 0


@pytest.mark.parametrize(("path", "status"), ANSWERS)
def test_the_same_holds_under_asgi(path: str, status: int) -> None:
    response = async_to_sync(AsyncClient(raise_request_exception=False).get)(path)
    row = recorded()
    assert (response.status_code, row.status, row.path) == (status, status, path)
    assert response["X-Request-ID"] == row.request_id


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PROPFIND", "get", "A" * 200])
def test_every_method_is_recorded(client: Client, method: str) -> None:
    client.generic(method, "/status/200/")
    assert recorded().method == method.upper()[:32]


def test_a_host_that_is_not_ours_is_recorded_too(client: Client) -> None:
    assert client.get("/status/200/", headers={"host": "evil.example"}).status_code == 400
    assert recorded().host == "evil.example"


def test_a_bug_is_answered_without_its_words(client: Client) -> None:
    assert b"hunter2" not in client.get("/bug/").content


def test_no_header_names_the_client_by_default(client: Client) -> None:
    forged = dict.fromkeys(FORGEABLE, "6.6.6.6") | {"forwarded": "for=6.6.6.6"}
    client.get("/status/200/", headers=forged, REMOTE_ADDR="198.51.100.7")
    assert recorded().address == "198.51.100.7"


def test_behind_a_trusted_proxy_only_the_configured_header_counts(
    client: Client, settings: Settings
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    headers = {"x-forwarded-for": "6.6.6.6, 203.0.113.5", "x-real-ip": "6.6.6.6"}
    client.get("/status/200/", headers=headers, REMOTE_ADDR="10.0.0.1")
    assert recorded().address == "203.0.113.5"


def test_a_proxy_that_names_nobody_is_recorded_itself_and_flagged(
    client: Client, settings: Settings
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    client.get("/status/200/", headers={"x-forwarded-for": "unknown"}, REMOTE_ADDR="10.0.0.1")
    row = recorded()
    assert (row.address, row.tags) == ("10.0.0.1", ("malformed_forwarding",))


@pytest.mark.parametrize(("peer", "scheme"), [("10.0.0.1", "https"), ("198.51.100.7", "http")])
def test_only_a_trusted_proxy_can_say_that_a_request_was_encrypted(
    client: Client, settings: Settings, peer: str, scheme: str
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    response = client.get("/whoami/", headers={"x-forwarded-proto": "https"}, REMOTE_ADDR=peer)
    assert response.content.decode().endswith(scheme)


@pytest.mark.parametrize("peer", ["", "unix:", "fe80::1%eth0", "garbage"])
def test_no_peer_breaks_a_request(client: Client, peer: str) -> None:
    assert client.get("/status/200/", REMOTE_ADDR=peer).status_code == 200
    assert recorded().address in {"0.0.0.0", "fe80::1"}


def test_the_path_is_kept_as_sent_and_comparable(client: Client) -> None:
    client.get("/x", RAW_URI="//Admin/%2E/;v=1?token=t")
    row = recorded()
    assert (row.path, row.normal_path, row.query) == ("//Admin/%2E/;v=1", "/admin", "")


def test_the_query_is_kept_on_demand_without_secrets(client: Client, settings: Settings) -> None:
    settings.TRACKING_LOG_QUERY_STRING = True
    settings.TRACKING_REDACTED_NAMES = ["iban"]
    client.get("/status/200/?q=1&PassWord=hunter2&iban=DE1")
    assert recorded().query == "q=1&PassWord=[redacted]&iban=[redacted]"


def test_no_secret_reaches_the_journal_or_the_row(client: Client, journal_dir: Path) -> None:
    client.post(
        "/status/200/?token=hunter2",
        {"password": "hunter2"},
        headers={
            "authorization": "Bearer hunter2",
            "cookie": "sessionid=hunter2",
            "referer": "https://u:hunter2@example.org/?code=hunter2#access_token=hunter2",
        },
    )
    assert b"hunter2" not in b"".join(p.read_bytes() for p in journal.segments(journal_dir))
    assert "hunter2" not in str(vars(recorded()))


@pytest.mark.parametrize(
    "bad", ["\x00", "\xff\xfe", "\ud800", "\x1b[31m", "a\rb", "\u202e", "é", "\U0001f600", "%00%ff"]
)
def test_any_byte_a_client_can_send_is_stored_as_one_line(client: Client, bad: str) -> None:
    environ = {"HTTP_USER_AGENT": bad, "HTTP_REFERER": bad, "HTTP_HOST": bad, "RAW_URI": f"/{bad}"}
    client.get("/status/200/", **environ)
    row = recorded()
    for text in (row.user_agent, row.referer, row.host, row.path, row.normal_path):
        assert text.isprintable()


def test_huge_headers_are_cut(client: Client) -> None:
    client.get("/status/200/", headers={"user-agent": "é" * 100_000, "referer": "x" * 100_000})
    row = recorded()
    assert (len(row.user_agent), len(row.referer)) == (512, 1024)


def test_a_user_the_view_looked_at_is_named(client: Client) -> None:
    user = User.objects.create_user("ada", password="x")
    client.force_login(user)
    client.get("/whoami/")
    row = recorded()
    assert (row.username, row.user_pk) == ("ada", str(user.pk))


@pytest.mark.parametrize(("name", "kept"), [(254700, "254700"), (None, "")])
def test_a_user_named_by_a_number_or_nothing_is_recorded(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: object, kept: str
) -> None:
    monkeypatch.setattr(User, "get_username", lambda self: name)
    user = User.objects.create_user("ada", password="x")
    client.force_login(user)
    client.get("/whoami/")
    row = recorded()
    assert (row.username, row.user_pk) == (kept, str(user.pk))


@pytest.mark.parametrize(("path", "name"), [("/enter/", "ada"), ("/leave/", "")])
def test_who_logs_in_is_named_and_who_logs_out_is_not(client: Client, path: str, name: str) -> None:
    client.force_login(User.objects.create_user("ada", password="x"))
    client.get(path)
    assert recorded().username == name


def test_recording_an_anonymous_request_asks_the_database_nothing(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        response = client.get("/status/200/")
    assert "Cookie" not in response.get("Vary", "")


def test_a_journal_that_cannot_be_written_fails_no_request(
    client: Client, journal_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal_dir.write_text("a file where the folder should be")
    assert client.get("/status/200/").status_code == 200
    assert "cannot be written" in caplog.text
    assert "Traceback" not in caplog.text
    journal_dir.unlink()
    journal.mine().write_held()
    assert len(journal.segments(journal_dir)) == 1, "it waited in memory"


def test_a_guard_that_fails_fails_no_request(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visits, "client_address", lambda *_: 1 / 0)
    assert client.get("/status/200/").status_code == 200
    assert "neither recorded nor decided on" in caplog.text


def test_the_middleware_serves_both_kinds_of_server() -> None:
    for handler in (WSGIHandler, ASGIHandler):
        assert handler()._middleware_chain is not None
