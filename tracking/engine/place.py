"""Places, which addresses have one, and how to read one from a record of a geolocation database.

Two layouts are in use: nested records (MaxMind, DB-IP) and flat ones (IPinfo, ip-location-db).
They are told apart by what they hold, and whatever has not the form of a fact is not one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from tracking.engine.address import IPAddress, Scope, scope_of, unmapped

LONGEST_CITY = 128  # characters; the column RequestLog.city
LARGEST_ASN = 2**32 - 1

_NAT64 = 0x64FF9B << 64  # 64:ff9b::/96 without its last 32 bits, which are an IPv4 address
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_NO_COUNTRY = frozenset({"XX", "ZZ"})  # what some databases write for "nobody knows"
_ASN = re.compile(r"(?:AS)?([0-9]{1,10})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """ISO 3166-1 alpha-2 country in upper case, English name of the city, number of the network."""

    country: str | None
    city: str | None
    asn: int | None


NOWHERE = Place(None, None, None)


def locatable(address: IPAddress) -> IPAddress | None:
    """Return the address to look up: the one that an IPv4-mapped or NAT64 address carries.

    None for private, reserved and other special addresses: they are nowhere.
    """
    if address.version == 6 and int(address) >> 32 == _NAT64:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    address = unmapped(address)
    return address if scope_of(address) is Scope.GLOBAL else None


def place_in(record: object) -> Place:
    """Return the facts in one record of a database, of whatever layout."""
    if not isinstance(record, dict):
        return NOWHERE
    country, city, traits = record.get("country"), record.get("city"), record.get("traits")
    if isinstance(country, dict):
        country = country.get("iso_code")
    if isinstance(city, dict):
        names = city.get("names")
        city = names.get("en") if isinstance(names, dict) else None
    held = traits if isinstance(traits, dict) else record
    asn = held.get("autonomous_system_number") or record.get("asn")
    return place_of(record.get("country_code") or country, city, asn)


def place_of(country: object, city: object, asn: object) -> Place:
    """Return a place of those facts that have the right form; the others stay unknown."""
    return Place(_country(country), printable(city, LONGEST_CITY), _number(asn))


def printable(text: object, longest: int) -> str | None:
    """Return the text without control characters, cut to `longest`; None when nothing is left."""
    if not isinstance(text, str):
        return None
    return "".join(filter(str.isprintable, text[: 4 * longest])).strip()[:longest] or None


def _country(code: object) -> str | None:
    if not isinstance(code, str) or not _COUNTRY.fullmatch(code):
        return None
    return None if code.upper() in _NO_COUNTRY else code.upper()


def _number(asn: object) -> int | None:
    if isinstance(asn, str) and (written := _ASN.fullmatch(asn)):
        asn = int(written[1])
    return asn if isinstance(asn, int) and 0 < asn <= LARGEST_ASN else None
