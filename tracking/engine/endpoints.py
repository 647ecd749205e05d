"""Where alerts go by webhook, and how they are signed: the Standard Webhooks specification 1.0.

https://github.com/standard-webhooks/standard-webhooks says what the headers mean.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

SECRET_PREFIX = "whsec_"  # noqa: S105 - that is how a secret begins
FEWEST_BYTES, MOST_BYTES = 24, 64  # of a secret
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)

# How long to wait after the first failed attempt, the second, ...: about three days together.
DELAYS = (
    *(_MINUTE, 5 * _MINUTE, 30 * _MINUTE),
    *(2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
)
JITTER = 0.2  # a wait is up to this part longer, so that not everything comes back at once


class EventType(enum.StrEnum):
    """What an alert may be about."""

    BLOCK_CREATED = "block.created"
    BLOCK_REMOVED = "block.removed"
    BLOCK_EXPIRED = "block.expired"
    BLOCK_SUGGESTED = "block.suggested"
    SUSPICION_RAISED = "suspicion.raised"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that is told of alerts, and the keys that sign; neither may stand in a message."""

    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def mark(self) -> str:
        """What tells two URLs apart without giving either away."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The host and the mark: how logs and commands call this endpoint."""
        return f"{self.host}#{self.mark}"


def read_endpoints(value: object) -> tuple[Endpoint, ...]:
    """Return the endpoints of a list of texts, each a URL and one or more secrets, with spaces.

    Endpoints in the list stay as they are: reports of errors show settings, but not these.

    Raises ValueError with a sentence that repeats neither path nor secret.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError("this is not a list of texts such as 'https://host/path whsec_...'")
    endpoints = []
    for number, text in enumerate(value, 1):
        try:
            endpoints.append(text if isinstance(text, Endpoint) else _endpoint(str(text)))
        except ValueError as error:
            raise ValueError(f"webhook {number}: {error}") from None
    if len({endpoint.url for endpoint in endpoints}) < len(endpoints):
        raise ValueError("two webhooks have the same URL; write all secrets behind one")
    return tuple(endpoints)


def read_event_types(value: object) -> frozenset[EventType]:
    """Return the kinds of events that a list names. Raises ValueError."""
    known = ", ".join(EventType)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"this is not a list of {known}")
    try:
        return frozenset(EventType(each) for each in value)
    except ValueError as error:
        raise ValueError(f"{error}; there are {known}") from None


def signature(keys: Iterable[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature by each key, with spaces."""
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    digests = (hmac.digest(key, signed, "sha256") for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def wait(attempts: int, chance: float) -> timedelta | None:
    """Return how long to wait after so many failed attempts, None to give up.

    `chance` is a random number from 0 to 1.
    """
    if attempts > len(DELAYS):
        return None
    return DELAYS[max(attempts, 1) - 1] * (1 + JITTER * chance)


def _endpoint(text: str) -> Endpoint:
    url, *secrets = text.split() or [""]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isascii() or not url.isprintable():
        raise ValueError("its URL cannot be read: write it like https://host/path, in ASCII")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK_NAMES):
        raise ValueError("its URL must begin with https:// (http:// is for this machine alone)")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("its URL may hold neither a user name nor a fragment (#)")
    if not secrets:
        raise ValueError("write its secret behind the URL, with a space between")
    return Endpoint(url, tuple(_key(secret) for secret in secrets))


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not FEWEST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(
            f"its secret is not {SECRET_PREFIX} and the base64 of {FEWEST_BYTES} to {MOST_BYTES}"
            f" random bytes"
        )
    return key
