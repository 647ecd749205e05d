"""Who the client is, when proxies stand between.

Only a trusted TCP peer is believed, and of what it says only one configured header, read from its
right end: every proxy appends what it saw, so whatever a client forged stands further left.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from python_ipware.modern.parsers import clean_ip, forwarded_for

from tracking.engine.address import AddressError, IPAddress, IPNetwork, parse_address

MOST_HOPS = 30
_LONGEST_CACHED = 512

# The peer of a Unix socket has no address; the unspecified one stands for it and is never punished.
UNKNOWN: IPAddress = ipaddress.IPv4Address(0)


class Reason(enum.StrEnum):
    """Why this address was taken for the client's; each value is a sentence for people."""

    NO_PEER = "the peer has no address, so the client is unknown"
    NO_PROXIES = "no trusted proxies are configured, so headers are not read"
    UNTRUSTED_PEER = "the peer is not a trusted proxy, so its headers are not read"
    NO_HEADER = "the trusted peer sent no such header"
    UNTRUSTED_HOP = "this is the first hop from the right that is not a trusted proxy"
    ALL_TRUSTED = "every hop is a trusted proxy, so the leftmost is the origin"
    NOT_AN_ADDRESS = "a hop is not an address, so the peer counts"
    TOO_MANY_HOPS = "there are too many hops, so the peer counts"


@dataclass(frozen=True, eq=False)  # compared by identity: every request is looked up by it
class Proxies:
    """Which TCP peers are believed, and the one header in which they name the client."""

    networks: tuple[IPNetwork, ...] = ()
    unix_socket: bool = False
    header: str = "X-Forwarded-For"

    def trusts(self, address: IPAddress) -> bool:
        return any(
            address in network for network in self.networks if network.version == address.version
        )


@dataclass(frozen=True, slots=True)
class Client:
    """The client's address and how it was found; `hops` are those walked, from the right."""

    address: IPAddress
    peer: IPAddress
    trusted_peer: bool
    reason: Reason
    hops: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        """A trusted proxy sent something that names no client."""
        return self.reason in {Reason.NOT_AN_ADDRESS, Reason.TOO_MANY_HOPS}


def client_address(proxies: Proxies, peer: str, header: str | None) -> Client:
    """Return the client behind a TCP peer (`REMOTE_ADDR`) and the configured header's value.

    Never raises: the peer is the last resort, and UNKNOWN where there is none.
    """
    client = _peer(proxies, peer)
    if not client.trusted_peer or not header or not header.strip():
        return client
    if len(header) > _LONGEST_CACHED:
        return _named_by(proxies, client.peer, header)
    return _named_by_cached(proxies, client.peer, header)


@lru_cache(maxsize=4096)
def _peer(proxies: Proxies, peer: str) -> Client:
    """Return the client when there is nothing but the peer to go by."""
    address = _address(peer.partition("%")[0])
    if address is None:
        return Client(UNKNOWN, UNKNOWN, proxies.unix_socket, Reason.NO_PEER)
    if proxies.trusts(address):
        return Client(address, address, True, Reason.NO_HEADER)
    nobody = not proxies.networks and not proxies.unix_socket
    reason = Reason.NO_PROXIES if nobody else Reason.UNTRUSTED_PEER
    return Client(address, address, False, reason)


def _named_by(proxies: Proxies, peer: IPAddress, header: str) -> Client:
    found, reason, hops = _walk(proxies, header)
    return Client(found or peer, peer, True, reason, hops)


_named_by_cached = lru_cache(maxsize=4096)(_named_by)


def _walk(proxies: Proxies, header: str) -> tuple[IPAddress | None, Reason, tuple[str, ...]]:
    walked: list[str] = []
    hop: IPAddress | None = None
    for text in _hops_from_the_right(header):
        walked.append(text.strip()[:64])
        if len(walked) > MOST_HOPS:
            return None, Reason.TOO_MANY_HOPS, tuple(walked)
        hop = _hop_address(text)
        if hop is None:
            return None, Reason.NOT_AN_ADDRESS, tuple(walked)
        if not proxies.trusts(hop):
            return hop, Reason.UNTRUSTED_HOP, tuple(walked)
    return hop, Reason.ALL_TRUSTED, tuple(walked)


def _hops_from_the_right(header: str) -> Iterator[str]:
    # Split at plain commas: an unclosed quote that a client sent must not swallow what the proxy
    # appended after it.
    rest, comma = header, ","
    while comma:
        rest, comma, hop = rest.rpartition(",")
        yield hop


def _hop_address(text: str) -> IPAddress | None:
    if len(text) > 256:
        return None
    return _address(clean_ip(forwarded_for(text) if "=" in text else text).partition("%")[0])


def _address(text: str) -> IPAddress | None:
    try:
        return parse_address(text)
    except AddressError:
        return None
