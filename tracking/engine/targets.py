"""Targets: whom a rule is about, in one canonical spelling."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache

from tracking.engine.address import IPAddress, IPNetwork, Scope, holding, scope_of, shown
from tracking.engine.place import LARGEST_ASN, NOWHERE, Place

ANY_COUNTRY = "*"

_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_ASN = re.compile(r"(?:AS)?([1-9][0-9]{0,9})", re.ASCII | re.IGNORECASE)


class RuleKind(enum.StrEnum):
    """What a rule is about."""

    ADDRESS = "ADDRESS"
    NETWORK = "NETWORK"
    COUNTRY = "COUNTRY"
    ASN = "ASN"


class TargetError(ValueError):
    """The text is no country or autonomous system; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a rule is about: `text` is canonical, `network` is that of addresses and networks."""

    kind: RuleKind
    text: str
    network: IPNetwork | None = None

    def covers(self, address: IPAddress, place: Place = NOWHERE) -> bool:
        """Tell whether the address, which is at this place, is meant."""
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        if scope_of(address) is not Scope.GLOBAL:
            return False
        if self.kind is RuleKind.ASN:
            return place.asn is not None and self.text == f"AS{place.asn}"
        return place.country is not None and self.text in {ANY_COUNTRY, place.country}


def target_of_network(network: IPNetwork) -> Target:
    """Return the target that is a network, or the one address it holds."""
    if network.prefixlen == network.max_prefixlen:
        return Target(RuleKind.ADDRESS, str(network.network_address), network)
    return Target(RuleKind.NETWORK, str(network), network)


@lru_cache(maxsize=512)
def texts_around(network: IPNetwork) -> tuple[str, ...]:
    """Return the targets of all rules on addresses and networks that hold this network."""
    return tuple(target_of_network(each).text for each in holding(network))


def target_of_country(code: str) -> Target:
    """Return the target that is a country by its code of two letters, or any country (`*`).

    Raises TargetError.
    """
    if code == ANY_COUNTRY or _COUNTRY.fullmatch(code):
        return Target(RuleKind.COUNTRY, code.upper())
    raise TargetError(f"{shown(code)} is not a country: write two letters such as DE, or *")


def target_of_asn(number: str | int) -> Target:
    """Return the target that is an autonomous system, as 64496 or "AS64496". Raises TargetError."""
    written = _ASN.fullmatch(str(number))
    if written is None or int(written[1]) > LARGEST_ASN:
        raise TargetError(
            f"{shown(str(number))} is not an autonomous system: write a number such as 64496"
        )
    return Target(RuleKind.ASN, f"AS{int(written[1])}")
