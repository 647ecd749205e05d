"""Tell one endpoint of one event: an HTTPS request that can be led nowhere but where it is meant.

The name is resolved once, every address it has is looked at, and the connection goes to one of
these very addresses: a second answer of the name server changes nothing. Redirects are not
followed, proxies of the environment not used, and 15 seconds are all there is.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

from tracking import conf
from tracking.engine.address import AddressError, IPAddress, Scope, parse_address, scope_of
from tracking.engine.endpoints import Endpoint, signature
from tracking.engine.text import printable

TOTAL_SECONDS = 15.0  # for the name, the connection, the request and the answer together
MOST_BYTES = 1024  # of the answer that are read
LONGEST_ANSWER = 255
LONGEST_PAUSE = timedelta(hours=24)  # that an endpoint can ask for
GONE = 410
PORTS = {"https": 443, "http": 80}
# Both lead on to addresses that are looked at by nobody: IPv4 behind a translator, and Azure's
# own service for its machines, which has an address like any other.
_TRANSLATED = ip_network("64:ff9b::/96")
_AZURE = IPv4Address("168.63.129.16")


class RefusedError(Exception):
    """The endpoint may not be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: the status (None: there was no answer), and what to tell of it."""

    status: int | None
    text: str
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants to hear nothing any more."""
        return self.status == GONE


def send(endpoint: Endpoint, event_id: str, body: str, now: datetime) -> Answer:
    """Send a signed event, and return what was answered. Never raises for what others do."""
    sent = body.encode()
    timestamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "alx-backend-security",
        "Connection": "close",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(endpoint.keys, event_id, timestamp, sent),
    }
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        return _exchange(endpoint, sent, headers, now, deadline)
    except (OSError, ValueError, http.client.HTTPException, RefusedError) as error:
        if time.monotonic() >= deadline:
            return Answer(None, f"no answer within {TOTAL_SECONDS:.0f} seconds")
        return Answer(None, printable(f"{type(error).__name__}: {error}", LONGEST_ANSWER))


def destinations(endpoint: Endpoint, seconds: float = TOTAL_SECONDS) -> list[IPAddress]:
    """Return the addresses of an endpoint. Raises RefusedError unless all of them may be asked."""
    texts = _resolved(endpoint.host, seconds)
    if not texts:
        raise RefusedError(f"the name {endpoint.host} has no address")
    return [_checked(text, endpoint) for text in texts]


def _exchange(
    endpoint: Endpoint, body: bytes, headers: dict[str, str], now: datetime, deadline: float
) -> Answer:
    parts = endpoint.parts
    port = parts.port or PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with (
        _connected(destinations(endpoint, _left(deadline)), port, deadline) as plain,
        _ended_at(deadline, plain),
        closing(_client(endpoint, port, plain)) as connection,
    ):
        connection.request("POST", target, body, headers)
        with connection.getresponse() as answer:
            start = answer.read(MOST_BYTES)
    text = f"{answer.status} {answer.reason} {start.decode(errors='replace')}"
    pause = _retry_after(answer.headers["Retry-After"], now)
    return Answer(answer.status, printable(text.strip(), LONGEST_ANSWER), pause)


def _resolved(host: str, seconds: float) -> list[str]:
    """Return the addresses of a name, none when it has none or takes longer."""
    found: list[str] = []

    def ask() -> None:
        with suppress(OSError, UnicodeError):
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(info[4][0]) for info in infos))

    resolver = threading.Thread(target=ask, name="tracking-webhooks-name", daemon=True)
    resolver.start()
    resolver.join(seconds)
    return list(found)


def _checked(text: str, endpoint: Endpoint) -> IPAddress:
    try:
        address = parse_address(text)
    except AddressError as error:  # one with a zone
        raise RefusedError(str(error)) from None
    named = any(
        address.version == network.version and address in network
        for network in conf.current().alert_networks
    )
    if not named and not _is_public(address):
        raise RefusedError(f"{endpoint.host} has the address {address}, which is not a public one")
    if endpoint.parts.scheme != "https" and not address.is_loopback:
        raise RefusedError(f"{endpoint.host} is another machine: only https is spoken there")
    return address


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address) and address in _TRANSLATED:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return scope_of(address) is Scope.GLOBAL and address != _AZURE


@contextmanager
def _connected(addresses: list[IPAddress], port: int, deadline: float) -> Iterator[socket.socket]:
    """Yield a connection to the first of the addresses that takes one."""
    errors = []
    for address in addresses:
        try:
            plain = socket.create_connection((str(address), port), timeout=_left(deadline))
        except OSError as error:
            errors.append(error)
            continue
        with plain:
            yield plain
        return
    raise errors[0]


def _client(endpoint: Endpoint, port: int, plain: socket.socket) -> http.client.HTTPConnection:
    """Return a client that speaks over this connection, and under the name of the endpoint."""
    if endpoint.parts.scheme == "http":
        connection = http.client.HTTPConnection(endpoint.host, port)
        connection.sock = plain
        return connection
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(endpoint.host, port, context=context)
    connection.sock = context.wrap_socket(plain, server_hostname=endpoint.host)
    return connection


@contextmanager
def _ended_at(deadline: float, plain: socket.socket) -> Iterator[None]:
    """Cut the connection at the deadline: one byte a second would keep every timeout happy."""
    held = plain.dup()  # TLS takes the socket over; this handle stays

    def cut() -> None:
        with suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(_left(deadline), cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        held.close()


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.01)


def _retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return how long the header asks to wait, in seconds or until a date; None without sense."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        pause = timedelta(seconds=int(text))
    else:
        try:
            until = parsedate_to_datetime(text)
            pause = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):
            return None
    return max(timedelta(0), min(pause, LONGEST_PAUSE))
