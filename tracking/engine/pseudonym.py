"""Addresses that are kept so that they tell less than a client's own: networks, and pseudonyms.

A pseudonym has the shape of an IPv6 address, so that it fits wherever an address does, and lies in
fc00::/8, the half of the unique local addresses that nobody is handed out (RFC 4193). Whoever
counts as one client (an IPv6 network) keeps one prefix, as real addresses do.
"""

from __future__ import annotations

import hmac
from ipaddress import IPv6Address, IPv6Network, ip_network

from tracking.engine.address import IPAddress, IPNetwork, network_of

# What may be kept of addresses: the values of TRACKING_IP_STORAGE.
FULL, TRUNCATED, HASHED = "full", "truncated", "hashed"
PSEUDONYMS: IPv6Network = IPv6Network("fc00::/8")
SHARED = PSEUDONYMS.network_address  # what is left of a pseudonym that shall lead nowhere
KEPT_BITS = {4: 24, 6: 48}  # of an address that is truncated
_BITS = 128


def is_pseudonym(network: IPNetwork) -> bool:
    """Tell whether a network, or an address as one, was made here and is nobody's own."""
    inside = network.version == 6 and network.subnet_of(PSEUDONYMS)
    return inside and network.prefixlen > PSEUDONYMS.prefixlen


def pseudonym(address: IPAddress, key: bytes, ipv6_prefix: int = 64) -> IPv6Address:
    """Return the pseudonym of an address under a key: the same always, and without the key no hint.

    Its first `ipv6_prefix` bits come from the network that counts as one client, the others from
    the whole address. A pseudonym stays what it is.
    """
    if is_pseudonym(network_of(address, _BITS)):
        return IPv6Address(int(address))
    client = network_of(address, ipv6_prefix).network_address
    rest = _BITS - ipv6_prefix
    number = (_digest(client, key) >> rest << rest) | (_digest(address, key) & ((1 << rest) - 1))
    number &= (1 << (_BITS - PSEUDONYMS.prefixlen)) - 1
    return IPv6Address(int(SHARED) | number)


def truncated(address: IPAddress) -> IPNetwork:
    """Return the /24 of an IPv4 address, the /48 of an IPv6 one; of pseudonyms, that of SHARED."""
    if is_pseudonym(network_of(address, _BITS)):
        return IPv6Network((int(SHARED), KEPT_BITS[6]))
    return ip_network((int(address), KEPT_BITS[address.version]), strict=False)


def _digest(address: IPAddress, key: bytes) -> int:
    return int.from_bytes(hmac.digest(key, address.packed, "sha256")[:16])
