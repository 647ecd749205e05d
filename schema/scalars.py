"""Values with one strict spelling: what is accepted, and how it is written.

Whatever does not fit is refused with BAD_USER_INPUT and a sentence that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NewType

import strawberry
from django.utils.duration import duration_iso_string
from graphql import ValueNode, located_error, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from schema.errors import Refusal, bad_input
from tracking.engine.address import AddressError, parse_address, parse_network, shown

IPAddress = NewType("IPAddress", str)
IPNetwork = NewType("IPNetwork", str)
CountryCode = NewType("CountryCode", str)

LONGEST_DURATION = timedelta(days=36_500)

_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_ISO_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)
_SHORT_DURATION = re.compile(r"(?P<count>\d{1,9})(?P<unit>[smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_address(text: str) -> str:
    """Return the canonical spelling of an address; raises AddressError."""
    return str(parse_address(text))


def read_network(text: str) -> str:
    """Return the canonical CIDR spelling of a network or address; raises AddressError."""
    return str(parse_network(text))


def read_country(text: str) -> str:
    """Return an ISO 3166-1 alpha-2 code in upper case; raises ValueError."""
    if not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise ValueError(f"{shown(text)} is not a country: write two letters such as DE")
    return text.upper()


def read_time(text: str) -> datetime:
    """Return the moment in UTC; raises ValueError unless it is RFC 3339 with an offset."""
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{shown(text)} is not a time: write it with its offset, like 2026-05-17T10:05:00Z"
    )


def read_duration(text: str) -> timedelta:
    """Return a span of time, more than 0 and at most 36,500 days; raises ValueError."""
    if short := _SHORT_DURATION.fullmatch(text):
        parts = {_UNITS[short["unit"]]: int(short["count"])}
    elif iso := _ISO_DURATION.fullmatch(text):
        parts = {unit: int(count) for unit, count in iso.groupdict("0").items()}
    else:
        raise ValueError(f"{shown(text)} is not a duration: write it like PT1H, 15m, 4h or 7d")
    try:
        span = timedelta(**parts)
    except OverflowError:
        span = timedelta.max
    if not timedelta() < span <= LONGEST_DURATION:
        raise ValueError(f"{shown(text)}: a duration is more than 0 and at most 36500 days")
    return span


def written_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC, always with microseconds, so that texts sort like times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _scalar(
    name: str, read: Callable[[str], object], write: Callable[[Any], str], description: str
) -> ScalarDefinition:
    def parse(value: object) -> object:
        if not isinstance(value, str):
            raise bad_input(f"{name}: expected a string.")
        try:
            return read(value)
        except (AddressError, ValueError) as error:
            raise bad_input(f"{name}: {error}.") from None

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> object:
        try:
            return parse(value_from_ast_untyped(node, variables))
        except Refusal as refusal:
            raise located_error(refusal, [node]) from None

    return strawberry.scalar(
        name=name,
        serialize=write,
        parse_value=parse,
        parse_literal=parse_literal,
        description=description,
    )


# The schema's `scalar_map`. Duration waits there for its first use.
SCALARS: Mapping[object, ScalarDefinition] = {
    IPAddress: _scalar(
        "IPAddress",
        read_address,
        str,
        "One IPv4 or IPv6 address in its canonical spelling; IPv4-mapped IPv6 becomes IPv4."
        " Ports, zones, networks and spaces are refused.",
    ),
    IPNetwork: _scalar(
        "IPNetwork",
        read_network,
        str,
        "A network in CIDR notation such as 192.0.2.0/24, or an address for itself alone."
        " Netmasks, host bits, ports, zones and spaces are refused.",
    ),
    CountryCode: _scalar(
        "CountryCode", read_country, str, "A country's ISO 3166-1 code of two letters, such as DE."
    ),
    datetime: _scalar(
        "DateTime",
        read_time,
        written_time,
        "A moment in RFC 3339. Input must carry its offset (Z or +02:00) and at most six digits"
        " after the second; output is always UTC with microseconds.",
    ),
    timedelta: _scalar(
        "Duration",
        read_duration,
        duration_iso_string,
        "A span of time in ISO 8601, such as PT1H or P7D; input may also be 45s, 15m, 4h, 7d or"
        " 2w. More than 0 and at most 36500 days.",
    ),
}
