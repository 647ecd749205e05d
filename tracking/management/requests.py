"""Requests on the command line: which of the record are meant."""

from __future__ import annotations

import operator
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from django.db.models import F, Q, TextField, Value
from django.db.models.functions import Left, StrIndex
from django.db.models.lookups import Exact, GreaterThan

from tracking import ipstorage
from tracking.engine.address import parse_address, parse_network, shown
from tracking.engine.verdict import VerdictKind
from tracking.export import Selection
from tracking.fields import bounds, joined
from tracking.management.moments import moment

_STATUS = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """One value of an option, as it was written and as a condition on rows."""

    text: str
    condition: Q


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options; of one that is given several times any may hold, of several all must."""
    add = parser.add_argument
    add("--since", type=moment, metavar="WHEN", help="2026-11-22T10:30 (UTC), or 7d for a week ago")
    add("--until", type=moment, metavar="WHEN", help="not included")
    for name, example, read, meant in OPTIONS:
        add(
            f"--{name}",
            action="append",
            default=[],
            type=_part(read),
            metavar=example,
            help=f"only {meant}; several times: any of these",
        )


def selection(options: dict[str, Any]) -> Selection:
    """Return what the options of a command ask for."""
    since, until = options["since"], options["until"]
    asked: dict[str, Any] = {
        name: moment.isoformat()
        for name, moment in (("since", since), ("until", until))
        if moment is not None
    }
    condition = Q()
    for name, *_ in OPTIONS:
        parts: list[Part] = options[name.replace("-", "_")]
        if parts:
            condition &= reduce(operator.or_, (part.condition for part in parts))
            asked[name] = [part.text for part in parts]
    return Selection(condition=condition, since=since, until=until, asked=asked)


def _part(read: Callable[[str], Q]) -> Callable[[str], Part]:
    def parse(text: str) -> Part:
        if not text.isprintable():
            raise ArgumentTypeError(f"{shown(text)} holds what no request on record can hold")
        try:
            return Part(text, read(text))
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return parse


def _address(text: str) -> Q:
    return ipstorage.at(parse_address(text))


def _network(text: str) -> Q:
    return Q(address__range=bounds(parse_network(text)))


def _country(text: str) -> Q:
    if not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise ValueError(f"{shown(text)} is not a country: write its two letters, such as DE")
    return Q(country=text.upper())


def _status(text: str) -> Q:
    match = _STATUS.fullmatch(text)
    if not match:
        raise ValueError(f"{shown(text)} is not a status: write 404, 4xx or 400-403")
    digit, lowest, highest = match.groups()
    if digit:
        lowest, highest = f"{digit}00", f"{digit}99"
    return Q(status__range=(int(lowest), int(highest or lowest)))


def _verdict(text: str) -> Q:
    if text.upper() not in set(VerdictKind):
        raise ValueError(f"{shown(text)} is not a verdict: write one of {', '.join(VerdictKind)}")
    return Q(verdict=text.upper())


def _path(text: str) -> Q:
    if not text:
        raise ValueError("write how the path begins, such as /admin")
    # Not the lookup startswith: on SQLite it ignores letter case.
    return Q(Exact(Left("path", len(text)), text))


def _tag(text: str) -> Q:
    if text.split() != [text]:
        raise ValueError(f"{shown(text)} is not one word without spaces")
    return Q(GreaterThan(StrIndex(F("tags"), Value(joined([text]), output_field=TextField())), 0))


def _username(text: str) -> Q:
    return Q(username=text)


# Name, example, how a value is read, and what it means.
OPTIONS: tuple[tuple[str, str, Callable[[str], Q], str], ...] = (
    ("address", "192.0.2.1", _address, "requests from this address"),
    ("network", "192.0.2.0/24", _network, "requests from addresses in this network"),
    ("country", "DE", _country, "requests from this country"),
    ("status", "4xx", _status, "requests answered with this status (404, 4xx, 400-403)"),
    ("verdict", "BLOCKED", _verdict, "requests about which this was decided"),
    ("path-prefix", "/admin", _path, "requests whose path begins so, letter case included"),
    ("tag", "sqli", _tag, "requests with this tag"),
    ("username", "ada", _username, "requests of this signed-in user"),
)
