"""Limits: how often somebody may do something, and the one table of them.

A limit counts by its key, in windows of fixed length, at the rates of the caller's class. Every
line of LIMITS can be changed by the setting TRACKING_LIMITS; see docs/limits.md.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tracking.engine.address import IPAddress, counting_key

_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,3})?([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
OFF = "off"
LONGEST_ACCOUNT = 255  # characters


class LimitError(ValueError):
    """A limit cannot be read; the message says what to write."""


class ClientClass(enum.StrEnum):
    """What is known of the caller; each class has rates of its own."""

    ANONYMOUS = "anonymous"
    AUTHENTICATED = "authenticated"
    STAFF = "staff"


class Key(enum.StrEnum):
    """What is counted: an address (an IPv6 one by its /64), the user if any, or an account."""

    ADDRESS = "address"
    CALLER = "caller"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds; as text "5/m" or "10/15m"."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count}/{self.window}"

    @property
    def window(self) -> str:
        unit = next(unit for unit in "dhms" if self.seconds % _SECONDS[unit] == 0)
        number = self.seconds // _SECONDS[unit]
        return f"{number if number > 1 else ''}{unit}"


@dataclass(frozen=True, slots=True)
class State:
    """How much of one rate is left to one key, and in how many seconds its window ends."""

    limit: str
    rate: Rate
    remaining: int
    reset_after: int
    exceeded: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: `rates` by class (none: not limited), and where it applies by itself.

    `paths` are prefixes of request paths; a limit without any applies where code names it.
    `methods` are those of HTTP that count there, none: all. An observed limit is counted and
    recorded, and refuses nothing.
    """

    name: str
    key: Key
    rates: Mapping[ClientClass, tuple[Rate, ...]]
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    observed: bool = False

    @property
    def is_on(self) -> bool:
        return any(self.rates.values())

    def applies_to(self, path: str, method: str = "GET") -> bool:
        # Views answer HEAD as they answer GET.
        counted = "GET" if method == "HEAD" else method
        return path.startswith(self.paths) and (not self.methods or counted in self.methods)


def key_of_address(address: IPAddress, ipv6_prefix: int) -> str:
    """Return what is counted for an address: itself, or the network of an IPv6 one."""
    return f"address:{counting_key(address, ipv6_prefix)}"


def key_of_user(pk: str) -> str:
    """Return what is counted for a user by his primary key."""
    return f"user:{pk}"


def key_of_account(name: str) -> str:
    """Return what is counted for an account; one key for all spellings of its name."""
    return f"account:{account_key(name)}"


def account_key(name: str) -> str:
    """Return one spelling for all that stand for the same account (NFKC, without letter case).

    At most LONGEST_ACCOUNT characters, all of which UTF-8 can write; applied twice it changes
    nothing more.
    """
    folded = unicodedata.normalize("NFKC", name[:LONGEST_ACCOUNT]).casefold()
    spelled = unicodedata.normalize("NFKC", folded).encode(errors="backslashreplace").decode()
    return spelled[:LONGEST_ACCOUNT]


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Return the rates in a text such as "5/m,50/h"; "off" is none. Raises LimitError."""
    if text.strip().lower() == OFF:
        return ()
    rates = []
    for part in text.split(","):
        match = _RATE.fullmatch(part.strip())
        if match is None:
            raise LimitError(
                f"{part.strip()[:40]!a} is not a rate: write 5/m, 10/15m or several as 5/m,50/h"
                " (units s, m, h, d), or off"
            )
        count, number, unit = match.groups()
        rates.append(Rate(int(count), int(number or 1) * _SECONDS[unit]))
    return tuple(rates)


def by_class(anonymous: str, authenticated: str, staff: str) -> dict[ClientClass, tuple[Rate, ...]]:
    """Return rates for each class of caller."""
    texts = (anonymous, authenticated, staff)
    return {who: parse_rates(text) for who, text in zip(ClientClass, texts, strict=True)}


def for_all(rates: str) -> dict[ClientClass, tuple[Rate, ...]]:
    """Return the same rates for every class of caller."""
    return dict.fromkeys(ClientClass, parse_rates(rates))


LIMITS = (
    Limit("graphql", Key.CALLER, by_class("5/m", "10/m", "600/m"), paths=("/graphql/", "/api/")),
    Limit("login_address", Key.ADDRESS, for_all("5/m")),
    Limit("login_account", Key.ACCOUNT, for_all("10/15m")),
    Limit("signup", Key.ADDRESS, for_all("5/m,30/h"), paths=("/api/signup",), methods=("POST",)),
)


def changed(limit: Limit, change: object) -> Limit:
    """Return a limit with a change of the settings made to it. Raises LimitError.

    The change is rates for everybody ("20/m"), or a mapping that names what changes: rates under
    `anonymous`, `authenticated`, `staff` or `all`, and `paths`, `methods`, `key`, `observed`.
    """
    if isinstance(change, str):
        change = {"all": change}
    if not isinstance(change, Mapping):
        raise LimitError(f"{limit.name}: {change!a} is neither rates such as '5/m' nor a mapping")
    for what, value in change.items():
        try:
            limit = _changed(limit, str(what), value)
        except LimitError as error:
            raise LimitError(f"{limit.name}, {what}: {error}") from None
    return limit


def _changed(limit: Limit, what: str, value: object) -> Limit:
    if what == "all":
        return replace(limit, rates=for_all(_text(value)))
    if what in set(ClientClass) and limit.key is Key.CALLER:
        return replace(limit, rates={**limit.rates, ClientClass(what): parse_rates(_text(value))})
    if what == "observed" and isinstance(value, bool):
        return replace(limit, observed=value)
    if what == "key" and value in set(Key):
        return replace(limit, key=Key(str(value)))
    if what == "paths" and isinstance(value, list | tuple) and all(map(_is_path, value)):
        return replace(limit, paths=tuple(value))
    if what == "methods" and isinstance(value, list | tuple) and all(map(_is_method, value)):
        return replace(limit, methods=tuple(value))
    raise LimitError(
        f"{value!a} does not fit: rates stand under all or, where the caller is counted, under"
        " anonymous, authenticated and staff; observed is True or False; key is address, caller or"
        " account; paths is a list of texts that begin with /; methods is a list such as ['POST'],"
        " where GET includes HEAD"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise LimitError(f"{value!a} is not a text such as '5/m'")
    return value


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/")


def _is_method(value: object) -> bool:
    return isinstance(value, str) and value.isalpha() and value.isupper() and value != "HEAD"
