"""Webhooks: what is sent, who verifies it, and where none may lead."""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone
from django.views.debug import SafeExceptionReporterFilter
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from tests.tracking.hooks import OTHER_SECRET, SECRET, Receiver, listening
from tracking import conf, webhooks
from tracking.engine.endpoints import DELAYS, Endpoint, read_endpoints, wait
from tracking.webhooks import Answer

BODY = '{"type": "test", "timestamp": "2026-11-22T10:00:00+00:00", "data": {"name": "é"}}'
EVENT = "msg_0123456789abcdef"


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.TRACKING_ALERT_NETWORKS = ["127.0.0.0/8"]
    with listening() as receiver:
        yield receiver


def endpoint(url: str, *secrets: str) -> Endpoint:
    return read_endpoints([" ".join([url, *(secrets or (SECRET,))])])[0]


def sent(url: str, *secrets: str) -> Answer:
    return webhooks.send(endpoint(url, *secrets), EVENT, BODY, timezone.now())


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses; return the names that are asked for."""
    real, asked = socket.getaddrinfo, []

    def found(host: str, port: object, *args: object, **kwargs: object) -> list[object]:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            asked.append(host)
            return [(0, 0, 0, "", (address, 0)) for address in addresses]
        return real(host, port, *args, **kwargs)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return asked


def test_an_independent_receiver_verifies_what_is_sent(receiver: Receiver) -> None:
    assert sent(receiver.url()).status == 204

    (got,) = receiver.got
    assert Webhook(SECRET).verify(got.body, got.headers) == json.loads(BODY)
    assert got.path == "/hook/d41d8cd9?a=b"
    assert got.headers["webhook-id"] == EVENT
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.server_port}"


def test_while_a_secret_changes_both_verify(receiver: Receiver) -> None:
    sent(receiver.url(), SECRET, OTHER_SECRET)

    (got,) = receiver.got
    for secret in (SECRET, OTHER_SECRET):
        Webhook(secret).verify(got.body, got.headers)


def test_what_is_changed_on_the_way_is_not_verified(receiver: Receiver) -> None:
    sent(receiver.url())

    (got,) = receiver.got
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body + b" ", got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body, got.headers | {"webhook-id": "msg_1"})
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(got.body, got.headers)


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_2xx_is_success(receiver: Receiver, status: int) -> None:
    receiver.answers(status, b"thanks")
    assert sent(receiver.url()).is_success


@pytest.mark.parametrize("status", [301, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answers(status, Location=receiver.url())
    answer = sent(receiver.url())
    assert (answer.status, answer.is_success, len(receiver.got)) == (status, False, 1)


def test_an_answer_is_one_printable_line_of_bounded_length(receiver: Receiver) -> None:
    receiver.answers(500, b"first\nERROR forged line\x1b[31m\xff" + b"x" * 10_000_000)
    answer = sent(receiver.url())
    assert answer.text.startswith(r"500 Internal Server Error first\x0aERROR forged line\x1b[31m")
    assert len(answer.text) == webhooks.LONGEST_ANSWER
    assert answer.text.isprintable()


def test_retry_after_is_read_in_seconds_and_as_a_date(receiver: Receiver) -> None:
    for value, least, most in (
        ("120", 120, 120),
        (format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True), 295, 300),
        ("99999999", 86_400, 86_400),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), 0, 0),
    ):
        receiver.answers(503, Retry_After=value)
        pause = sent(receiver.url()).retry_after
        assert pause is not None
        assert least <= pause.total_seconds() <= most
    far = "Mon, 22 Nov 99999999999999999999 10:00:00 GMT"
    zone = "Mon, 22 Nov 2026 10:00:00 +99999999999999"
    for value in ("soon", "-5", "1e9", "³", "9" * 5000, far, zone):
        receiver.answers(503, Retry_After=value)
        assert sent(receiver.url()).retry_after is None


def test_one_byte_a_moment_does_not_hold_the_worker(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.5)

    def drip(handler: object) -> None:
        for _ in range(100):
            handler.wfile.write(b"H")  # type: ignore[attr-defined]
            time.sleep(0.05)

    receiver.answer = drip
    begun = time.monotonic()
    answer = sent(receiver.url())
    assert (answer.status, answer.text) == (None, "no answer within 0 seconds")
    assert time.monotonic() - begun < 2


def test_a_name_server_that_is_silent_does_not_hold_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1) or [])
    begun = time.monotonic()
    assert sent("https://hooks.example.org/").status is None
    assert time.monotonic() - begun < 0.9


def test_what_is_no_http_and_who_does_not_listen_are_failures(receiver: Receiver) -> None:
    receiver.answer = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")  # type: ignore[assignment]
    assert sent(receiver.url()).text.startswith("BadStatusLine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = sent(f"http://127.0.0.1:{free.getsockname()[1]}/")
    assert answer.text.startswith("ConnectionRefusedError")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("100.100.100.200", "0.0.0.0", "192.0.0.192", "168.63.129.16", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "ff02::1"),
        *("2001::a9fe:a9fe", "64:ff9b:1::1", "203.0.113.5"),
    ],
)
def test_no_webhook_leads_to_an_address_that_is_not_public(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    named(monkeypatch, address)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it connects"))
    assert sent("https://hooks.example.org/").text.startswith("RefusedError: ")


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named(monkeypatch, "8.8.8.8", "169.254.169.254")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it connects"))
    assert "not a public one" in sent("https://hooks.example.org/").text


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "localhost"])
def test_other_spellings_of_this_machine_are_refused(host: str) -> None:
    assert "not a public one" in sent(f"https://{host}/").text


def test_a_name_without_address_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch)
    assert sent("https://hooks.example.org/").text.endswith("hooks.example.org has no address")


def test_the_name_is_asked_for_once_and_the_address_that_was_looked_at_is_used(
    receiver: Receiver, tls: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = named(monkeypatch, "127.0.0.1")
    connections = []
    real = socket.create_connection

    def connect(address: tuple[str, int], **kwargs: float) -> socket.socket:
        connections.append(address)
        return real(address, **kwargs)

    monkeypatch.setattr(socket, "create_connection", connect)
    answer = sent(tls.url("hooks.example.org", "https"))
    assert answer.is_success, answer
    assert asked == ["hooks.example.org"]
    assert connections == [("127.0.0.1", tls.server_port)]
    assert tls.got[0].headers["host"] == f"hooks.example.org:{tls.server_port}"


def test_a_certificate_of_somebody_else_is_refused(
    tls: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, "127.0.0.1")
    answer = sent(tls.url("other.example.org", "https"))
    assert answer.text.startswith("SSLCertVerificationError")
    assert tls.got == []


def test_a_certificate_nobody_vouches_for_is_refused(
    tls: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    named(monkeypatch, "127.0.0.1")
    answer = sent(tls.url("hooks.example.org", "https"))
    assert answer.text.startswith("SSLCertVerificationError")


def test_the_proxy_of_the_environment_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert sent(receiver.url()).is_success


def test_this_machine_is_told_only_where_the_settings_name_it(
    receiver: Receiver, settings: Settings
) -> None:
    settings.TRACKING_ALERT_NETWORKS = []
    assert "not a public one" in sent(receiver.url()).text
    assert receiver.got == []


def test_plain_http_goes_to_no_other_machine(
    receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACKING_ALERT_NETWORKS = ["10.0.0.0/8"]
    named(monkeypatch, "10.0.0.1")
    assert "only https" in sent(receiver.url("localhost")).text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        (f"hooks.example.org {SECRET}", "cannot be read"),
        (f"https:///path {SECRET}", "cannot be read"),
        (f"https://hooks.example.org:99999/ {SECRET}", "cannot be read"),
        (f"https://[::1/ {SECRET}", "cannot be read"),
        (f"https://höoks.example.org/ {SECRET}", "in ASCII"),
        (f"https://hooks.example.org/\x00 {SECRET}", "in ASCII"),
        (f"http://hooks.example.org/ {SECRET}", "https://"),
        (f"file:///etc/passwd {SECRET}", "cannot be read"),
        (f"gopher://hooks.example.org/ {SECRET}", "https://"),
        (f"https://user:sesame@hooks.example.org/ {SECRET}", "user name"),
        ("https://hooks.example.org/sesame", "its secret behind"),
        ("https://hooks.example.org/ sesame", "is not whsec_"),
        ("https://hooks.example.org/ whsec_sesame", "is not whsec_"),
        ("https://hooks.example.org/ whsec_c2VzYW1lc2VzYW1l", "24 to 64"),
        (f"https://hooks.example.org/ {SECRET[6:]}", "is not whsec_"),
        ("https://hooks.example.org/ whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_told_without_its_secrets(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="webhook 2: ") as error:
        read_endpoints([f"https://hooks.example.org/ok {SECRET}", text])
    assert why in str(error.value)
    assert "sesame" not in str(error.value).lower()
    assert SECRET not in str(error.value)


def test_neither_path_nor_secret_is_shown_of_an_endpoint() -> None:
    one = endpoint("https://hooks.example.org/services/T0000/sesame")
    assert "sesame" not in repr(one) + one.name
    assert one.name.startswith("hooks.example.org#")


def test_a_report_of_an_error_shows_no_secret_of_the_settings(settings: Settings) -> None:
    text = f"https://hooks.example.org/services/sesame {SECRET}"
    settings.TRACKING_ALERT_WEBHOOKS = read_endpoints([text])
    assert conf.current().alert_webhooks == read_endpoints([text])
    shown = str(SafeExceptionReporterFilter().get_safe_settings())
    assert "TRACKING_ALERT_WEBHOOKS" in shown
    assert "sesame" not in shown
    assert SECRET not in shown
    assert str(conf.current().alert_webhooks[0].keys[0]) not in shown


def test_waits_grow_to_days_and_end() -> None:
    waits = [wait(attempts, 0) for attempts in range(1, len(DELAYS) + 2)]
    assert waits == [*DELAYS, None]
    assert timedelta(days=3) < sum(DELAYS, timedelta()) < timedelta(days=4)
    assert wait(1, 1) == timedelta(seconds=72)


@pytest.fixture
def tls(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that speaks TLS as hooks.example.org; its certificate is one we trust."""
    certificate, key = certified("hooks.example.org", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Receiver()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with listening(server):
        yield server


def certified(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a certificate for a name, signed by its own key, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
