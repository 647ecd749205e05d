"""How the value of a setting is read: each reader returns it in its type, or raises ValueError.

The error says what is wrong with the value, in words that follow the name of the setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tracking.engine.address import AddressError, IPNetwork, parse_network
from tracking.engine.limits import LIMITS, Key, Limit, changed, for_all

MIB = 1024 * 1024
MAILBOX = r"[^@\s,;<>\"]+@[^@\s,;<>\"]+"
_LIMIT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def folder(value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError(f"{value!r} is not the path of a folder")
    return Path(value).absolute()


def networks(value: object) -> tuple[IPNetwork, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is not a list of addresses and networks")
    try:
        return tuple(parse_network(str(item)) for item in value)
    except AddressError as error:
        raise ValueError(str(error)) from None


def header(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").isalnum():
        raise ValueError(f"{value!r} is not the name of one HTTP header")
    return value


def texts(what: str, form: str = ".*") -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        is_list = isinstance(value, Iterable) and not isinstance(value, str)
        texts = tuple(map(str, value)) if is_list else ()  # type: ignore[call-overload]
        if not is_list or not all(re.fullmatch(form, text) for text in texts):
            raise ValueError(f"{value!r} is not a list of {what}")
        return texts

    return read


def redis_url(value: object) -> str:
    """Return the address of a Redis; it may hold a password, which no message repeats."""
    if not value and isinstance(value, str):
        return value
    try:
        parts = urlsplit(str(value))
        if parts.scheme not in {"redis", "rediss", "unix"} or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError("write an address such as redis://host:6379/0") from None
    if find_spec("redis") is None:
        raise ValueError("install the package redis, or count in memory with an empty address")
    return str(value)


def limit_table(value: object) -> dict[str, Limit]:
    """Return the table of limits with the changes of the settings made to it, by name."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping of names to limits")
    limits = {limit.name: limit for limit in LIMITS}
    for name, change in value.items():
        if not isinstance(name, str) or not _LIMIT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a limit, such as graphql or reports_2")
        unchanged = limits.get(name, Limit(name, Key.CALLER, for_all("off")))
        limits[name] = changed(unchanged, change)
    return limits


def one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return value

    return read


def detector_changes(value: object) -> dict[str, dict[str, object]]:
    """Return changes to the detectors by name; tracking.checks looks at what stands in them."""
    if not isinstance(value, Mapping) or not all(
        isinstance(one, Mapping) for one in value.values()
    ):
        raise ValueError(f"{value!r} is not a mapping such as {{'flood': {{'requests': 200}}}}")
    return {str(name): dict(change) for name, change in value.items()}


def durations(value: object) -> tuple[timedelta, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is not a list of times such as timedelta(hours=1)")
    times = tuple(duration(each) for each in value)
    if not times:
        raise ValueError("name at least one time")
    return times


def duration(value: object) -> timedelta:
    if not isinstance(value, timedelta) or not timedelta(minutes=1) <= value <= timedelta(days=366):
        raise ValueError(f"{value!r} is not a time from a minute to a year")
    return value


def switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither True nor False")
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return read


def seconds(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise ValueError(f"{value!r} is not a number of seconds from {low} to {high}")
        return float(value)

    return read
