"""What is kept of a client's address: all of it, its network, or a pseudonym (TRACKING_IP_STORAGE).

Rules, limits and every decision know the true address, in memory. What leaves the process for the
journal or the database went through here. The key of the pseudonyms comes from SECRET_KEY, which
all nodes share: with another SECRET_KEY the same client gets another pseudonym.
"""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.db.models import Q
from django.utils.crypto import salted_hmac

from tracking import conf
from tracking.engine.address import IPAddress, IPNetwork, counting_key, network_of
from tracking.engine.forwarding import UNKNOWN
from tracking.engine.place import Place
from tracking.engine.pseudonym import (
    FULL,
    HASHED,
    KEPT_BITS,
    TRUNCATED,
    is_pseudonym,
    pseudonym,
    truncated,
)

_SALT = "tracking.pseudonyms"


def is_full() -> bool:
    """Whether addresses are kept as they are."""
    return conf.current().ip_storage == FULL


def stored(address: IPAddress) -> IPAddress:
    """Return what is kept of an address; of what was kept already, the same.

    UNKNOWN, which is nobody's, stays.
    """
    storage = conf.current().ip_storage
    if storage == FULL or address == UNKNOWN:
        return address
    if storage == TRUNCATED:
        return truncated(address).network_address
    return _pseudonym(address, settings.SECRET_KEY, conf.current().ipv6_prefix)


def client_of(address: IPAddress) -> IPNetwork:
    """Return the network that counts as one client in the record: where addresses are truncated,
    nothing less than what is kept of them."""
    configuration = conf.current()
    client = network_of(stored(address), configuration.ipv6_prefix)
    if configuration.ip_storage == TRUNCATED and address != UNKNOWN:
        client = min(client, truncated(address), key=lambda network: network.prefixlen)
    return client


def key_of(address: IPAddress) -> str:
    """Return the same as the record has it in `counting_key`."""
    configuration = conf.current()
    if configuration.ip_storage == TRUNCATED and address != UNKNOWN:
        return str(client_of(address))
    return counting_key(stored(address), configuration.ipv6_prefix)


def at(address: IPAddress, column: str = "address") -> Q:
    """Return the condition on rows of a client: under what is kept of its address now, and under
    the address itself, as rows have it that were written before the setting was changed."""
    kept = stored(address)
    return Q((column, address)) if kept == address else Q((f"{column}__in", [address, kept]))


def tells(network: IPNetwork) -> bool:
    """Tell whether the record says of each request whether it came from a network.

    Pseudonyms tell of single addresses, truncated ones of networks that are not smaller.
    """
    storage = conf.current().ip_storage
    if storage == HASHED:
        return network.num_addresses == 1
    return storage == FULL or network.prefixlen <= KEPT_BITS[network.version]


def pseudonyms(address: IPAddress) -> set[IPAddress]:
    """Return the pseudonyms that an address has or had: under each key that is or was in use.

    Keys that were are those of SECRET_KEY_FALLBACKS. The setting of today does not matter.
    """
    prefix = conf.current().ipv6_prefix
    keys = map(_key, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return {pseudonym(address, key, prefix) for key in keys}


def is_whole(address: IPAddress) -> bool:
    """Tell whether a recorded address is that of one client, as far as can be told from it."""
    if is_pseudonym(network_of(address, 128)):
        return False
    configuration = conf.current()
    cuts = configuration.ip_storage == TRUNCATED or configuration.anonymize_days > 0
    return not (cuts and address != UNKNOWN and address == truncated(address).network_address)


def place_kept(place: Place) -> Place:
    """Return what is kept of a place: no city beside an address that tells less than that."""
    return place if is_full() else Place(place.country, None, place.asn)


@lru_cache(maxsize=8192)
def _pseudonym(address: IPAddress, secret: str | bytes, ipv6_prefix: int) -> IPAddress:
    return pseudonym(address, _key(secret), ipv6_prefix)


@lru_cache(maxsize=8)
def _key(secret: str | bytes) -> bytes:
    return salted_hmac(_SALT, "key", secret=secret, algorithm="sha256").digest()
