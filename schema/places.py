"""Where an address is."""

from __future__ import annotations

import strawberry

from schema.scalars import CountryCode
from tracking import geo
from tracking.engine.address import AddressError, parse_address

LARGEST_INT = 2**31 - 1  # of GraphQL's Int


@strawberry.type(description="Where an address is, as far as the files of places know.")
class Place:
    country: CountryCode | None = strawberry.field(description="The country; null when unknown.")
    city: str | None = strawberry.field(description="The city; null when unknown.")
    asn: int | None = strawberry.field(
        description="The autonomous system; null when unknown, and above 2147483647."
    )


def place_of(address: str | None) -> Place | None:
    """Return the place of an address; None when nothing is known of it."""
    try:
        found = geo.locate(parse_address(address or ""))
    except AddressError:
        return None
    if found == geo.NOWHERE:
        return None
    country = CountryCode(found.country) if found.country else None
    asn = found.asn if found.asn is not None and found.asn <= LARGEST_INT else None
    return Place(country=country, city=found.city, asn=asn)
