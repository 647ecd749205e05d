"""Client addresses and networks in one canonical form.

An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address it carries, so that one
client never has two identities. Whatever has more than one reading is refused: ports, zones,
netmasks, host bits, octal, hexadecimal and short forms, spaces, non-ASCII digits.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_TEXT = 64  # the longest valid spelling has 49 characters; the rest only costs time


class AddressError(ValueError):
    """The text is not one address or network; the message says what is wrong and what to write."""


class Scope(enum.StrEnum):
    """What kind of place an address stands for; only GLOBAL ones have a location."""

    GLOBAL = "GLOBAL"
    PRIVATE = "PRIVATE"
    LOOPBACK = "LOOPBACK"
    LINK_LOCAL = "LINK_LOCAL"
    CGNAT = "CGNAT"
    DOCUMENTATION = "DOCUMENTATION"
    MULTICAST = "MULTICAST"
    RESERVED = "RESERVED"


# The IANA special-purpose registries. Not `ipaddress.is_global`: its answers for 2002::/16,
# 192.0.0.8 and others changed between the Python versions supported here.
_SPECIAL: tuple[tuple[str, Scope], ...] = (
    ("127.0.0.0/8", Scope.LOOPBACK),
    ("::1/128", Scope.LOOPBACK),
    ("10.0.0.0/8", Scope.PRIVATE),
    ("172.16.0.0/12", Scope.PRIVATE),
    ("192.168.0.0/16", Scope.PRIVATE),
    ("fc00::/7", Scope.PRIVATE),
    ("fec0::/10", Scope.PRIVATE),
    ("100.64.0.0/10", Scope.CGNAT),
    ("169.254.0.0/16", Scope.LINK_LOCAL),
    ("fe80::/10", Scope.LINK_LOCAL),
    ("192.0.2.0/24", Scope.DOCUMENTATION),
    ("198.51.100.0/24", Scope.DOCUMENTATION),
    ("203.0.113.0/24", Scope.DOCUMENTATION),
    ("2001:db8::/32", Scope.DOCUMENTATION),
    ("3fff::/20", Scope.DOCUMENTATION),
    ("224.0.0.0/4", Scope.MULTICAST),
    ("ff00::/8", Scope.MULTICAST),
    ("0.0.0.0/8", Scope.RESERVED),
    ("192.0.0.0/24", Scope.RESERVED),
    ("192.88.99.0/24", Scope.RESERVED),
    ("198.18.0.0/15", Scope.RESERVED),
    ("240.0.0.0/4", Scope.RESERVED),
    ("::/128", Scope.RESERVED),
    ("64:ff9b:1::/48", Scope.RESERVED),
    ("100::/64", Scope.RESERVED),
    ("2001::/23", Scope.RESERVED),
    ("2002::/16", Scope.RESERVED),
    ("5f00::/16", Scope.RESERVED),
)
_SPECIAL_NETWORKS = tuple((ipaddress.ip_network(text), scope) for text, scope in _SPECIAL)


def parse_address(text: str) -> IPAddress:
    """Return the address that `text` spells, IPv4-mapped ones as IPv4.

    Raises AddressError when it is not exactly one plain address.
    """
    return unmapped(_plain_address(_checked(text)))


def parse_network(text: str) -> IPNetwork:
    """Return the network that `text` (a CIDR block, or an address meaning itself alone) spells.

    Raises AddressError for netmasks and host bits too, since both are usually mistakes.
    """
    base, slash, length = _checked(text).partition("/")
    written = _plain_address(base)
    address = unmapped(written)
    kind = ipaddress.IPv4Network if address.version == 4 else ipaddress.IPv6Network
    if not slash:
        return kind((int(address), address.max_prefixlen))
    if not (length.isascii() and length.isdigit() and str(int(length[:4])) == length):
        raise AddressError(f"{shown(text)}: after the slash stands a prefix length such as /24")
    prefix = int(length) - (written.max_prefixlen - address.max_prefixlen)
    if not 0 <= prefix <= address.max_prefixlen:
        raise AddressError(f"{shown(text)}: this prefix length is outside the address")
    try:
        return kind((int(address), prefix))
    except ValueError:
        inside = kind((int(address), prefix), strict=False)
        raise AddressError(
            f"{shown(text)}: the address lies inside a network; write {inside} or the address alone"
        ) from None


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv4-mapped one; every other address as it is."""
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def counting_key(address: IPAddress, ipv6_prefix: int = 64) -> str:
    """Return what limits and detection count: an IPv4 address, or the network of an IPv6 one.

    One IPv6 customer is handed a whole /64 and could change address with every request.
    """
    return str(address if address.version == 4 else network_of(address, ipv6_prefix))


def network_of(address: IPAddress, ipv6_prefix: int = 64) -> IPNetwork:
    """Return the network whose addresses count as one client: for IPv4, the address alone."""
    if address.version == 4:
        return ipaddress.IPv4Network(int(address))
    return ipaddress.IPv6Network((int(address), ipv6_prefix), strict=False)


def network_around(address: IPAddress) -> IPNetwork:
    """Return the /24 of an IPv4 address, the /64 of an IPv6 one."""
    if address.version == 4:
        return ipaddress.IPv4Network((int(address), 24), strict=False)
    return network_of(address)


def holding(network: IPNetwork) -> Iterator[IPNetwork]:
    """Yield the networks that hold a network, from that of all addresses to itself."""
    for length in range(network.prefixlen + 1):
        yield network.supernet(new_prefix=length)


@lru_cache(maxsize=4096)
def scope_of(address: IPAddress) -> Scope:
    """Return the special purpose of an address, GLOBAL when it has none."""
    for network, scope in _SPECIAL_NETWORKS:
        if address.version == network.version and address in network:
            return scope
    return Scope.GLOBAL


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return `text` fit for an error message: short, quoted, on one line, in ASCII."""
    return ascii(text if len(text) <= longest else text[:longest] + "...")


def _checked(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise AddressError(f"{shown(text)}: longer than any address")
    return text


def _plain_address(text: str) -> IPAddress:
    if "%" in text:
        raise AddressError(
            f"{shown(text)}: an address with a zone means nothing elsewhere; leave it out"
        )
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise AddressError(
            f"{shown(text)} is not an address: write it like 192.0.2.1 or 2001:db8::1, without port"
        ) from None
