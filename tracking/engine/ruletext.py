"""Targets and durations as people write them: "192.0.2.0/24", "DE", "AS64496", "4h"."""

from __future__ import annotations

import re
from datetime import timedelta

from tracking.engine.address import LONGEST_TEXT, parse_network, shown
from tracking.engine.targets import (
    ANY_COUNTRY,
    RuleKind,
    Target,
    TargetError,
    target_of_asn,
    target_of_country,
    target_of_network,
)

FOREVER = "until lifted"
LONGEST = timedelta(days=36_525)  # a century; the calendar ends before Python's durations do

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_ASN = re.compile(r"AS[0-9]+", re.ASCII | re.IGNORECASE)


def read_target(text: str, kind: RuleKind | None = None) -> Target:
    """Return the target that a text means: two letters or `*` are a country, AS64496 is a system.

    With `kind` it means nothing else, and the number of a system may stand alone.
    Raises AddressError or TargetError.
    """
    text = text.strip()
    if kind is RuleKind.COUNTRY:
        return target_of_country(text)
    if kind is RuleKind.ASN:
        return target_of_asn(text)
    if kind is None and (text == ANY_COUNTRY or _COUNTRY.fullmatch(text)):
        return target_of_country(text)
    if kind is None and len(text) <= LONGEST_TEXT and _ASN.fullmatch(text):
        return target_of_asn(text)
    if not {".", ":"} & set(text):
        raise TargetError(
            f"{shown(text)} is no target: write an address or network (192.0.2.0/24), a country"
            " (DE, or * for all) or an autonomous system (AS64496)"
        )
    return target_of_network(parse_network(text))


def read_duration(text: str) -> timedelta | None:
    """Return how long "15m", "4h", "7d" or "2w" are; None for "until lifted". Raises ValueError."""
    text = text.strip().lower()
    if text == FOREVER:
        return None
    written = _DURATION.fullmatch(text)
    if written is None:
        raise ValueError(f"{shown(text)} is no duration: write it like 15m, 4h, 7d or 2w")
    try:
        duration = timedelta(**{_UNITS[written[2]]: int(written[1])})
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise ValueError(f"{shown(text)} is longer than anybody can wait")
    return duration
