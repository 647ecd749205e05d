"""Rules: who is let in and who is not, decided in memory.

Of the rules that match a visit the most specific decides: a longer prefix before a shorter one,
networks before autonomous systems, these before countries, one country before any (`*`). On an
equal target a rule with a scope comes before one without, then ALLOW before BLOCK, then the older.
Observed rules decide nothing; what they would have refused is told in the verdict.
"""

from __future__ import annotations

import enum
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from tracking.engine.address import IPAddress, Scope, scope_of
from tracking.engine.place import NOWHERE, Place
from tracking.engine.targets import ANY_COUNTRY, RuleKind
from tracking.engine.verdict import ALLOWED, Verdict, VerdictKind
from tracking.engine.visit import Visit

REMEMBERED_CLIENTS = 4096  # forgetting them at a change takes a third of a millisecond

_IPV6 = 1 << 128  # added to the numbers of IPv6, to keep them apart from those of IPv4


class RuleAction(enum.StrEnum):
    """What a rule does with the visits it matches."""

    BLOCK = "BLOCK"
    ALLOW = "ALLOW"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule until `expires_at` (None: until lifted), for these paths and methods or for all."""

    id: int
    action: RuleAction
    observed: bool = False
    expires_at: datetime | None = None
    path: str = ""
    methods: tuple[str, ...] = ()

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at

    def is_about(self, path: str, method: str) -> bool:
        """Tell whether the rule's scope holds this path, decoded as it is routed, and method."""
        if not self.path and not self.methods:
            return True
        return path.startswith(self.path) and (
            not self.methods
            or method in self.methods
            # Views answer HEAD as they answer GET.
            or (method == "HEAD" and "GET" in self.methods)
        )


Rules = tuple[Rule, ...]


class RuleSet:
    """Rules by target, changed one at a time: one thread may change them while others decide.

    Networks stand in one dictionary for each prefix length in use, so that a decision costs a
    look per length, however many rules there are. What matches a client is remembered.
    """

    def __init__(self, *, unknown_is_any: bool = False) -> None:
        """With `unknown_is_any`, rules for any country also match clients of an unknown one."""
        self._unknown_is_any = unknown_is_any
        # Pairs of (bits to shift away, rules by what is left), the longest prefix first.
        self._ipv4: tuple[tuple[int, dict[int, Rules]], ...] = ()
        self._ipv6: tuple[tuple[int, dict[int, Rules]], ...] = ()
        self._asns: dict[str, Rules] = {}
        self._countries: dict[str, Rules] = {}
        self._size = 0
        self._forget()

    def __len__(self) -> int:
        return self._size

    @property
    def needs_place(self) -> bool:
        """Whether some rule is about a country or an autonomous system."""
        return bool(self._asns or self._countries)

    def decide(self, visit: Visit, now: datetime) -> Verdict:
        """Return the verdict on a visit; ALLOWED when no rule matches."""
        address, place = visit.address, visit.place
        number = int(address) if address.version == 4 else int(address) + _IPV6
        if self._asns or self._countries:
            found = self._everything(number, place.country, place.asn)
        else:
            found = self._networks(number)
        if not found:
            return ALLOWED
        would = None
        for rule in found:
            if rule.is_live(now) and rule.is_about(visit.path_info, visit.method):
                if not rule.observed:
                    return _verdict(rule, would)
                would = would or rule
        return _verdict(None, would)

    def matching(self, address: IPAddress, place: Place = NOWHERE) -> Rules:
        """Return the rules whose target an address belongs to, the deciding one first.

        Those that have expired, and those about other paths or methods, are among them.
        """
        number = int(address) if address.version == 4 else int(address) + _IPV6
        return self._find_everything(number, place.country, place.asn, whole=True)

    def put(self, kind: str, target: str, rule: Rule) -> None:
        """Add a rule, or put it in the place of the one with its number. Takes microseconds.

        `kind` and `target` are those of a Target: its texts are taken as they stand.
        """
        self.put_all([(kind, target, rule)])

    def put_all(self, rules: Iterable[tuple[str, str, Rule]]) -> None:
        """Do the same for many."""
        for kind, target, rule in rules:
            table, key = self._place_of(kind, target)
            others = [kept for kept in table.get(key, ()) if kept.id != rule.id]
            self._size += 1 + len(others) - len(table.get(key, ()))
            table[key] = tuple(sorted([*others, rule], key=_precedence)) if others else (rule,)
        self._forget()

    def drop(self, kind: str, target: str, number: int) -> None:
        """Take a rule away by its number, if it is here."""
        table, key = self._place_of(kind, target)
        rules = table.get(key, ())
        kept = tuple(rule for rule in rules if rule.id != number)
        self._size += len(kept) - len(rules)
        if kept:
            table[key] = kept
        else:
            table.pop(key, None)
        self._forget()

    def _place_of(self, kind: str, target: str) -> tuple[dict[Any, Rules], int | str]:
        if kind == RuleKind.COUNTRY:
            return self._countries, target
        if kind == RuleKind.ASN:
            return self._asns, target
        number, shift = _first_and_shift(target)
        if number < _IPV6:
            self._ipv4, table = _with_length(self._ipv4, shift)
        else:
            self._ipv6, table = _with_length(self._ipv6, shift)
        return table, number >> shift

    def _forget(self) -> None:
        # Replaced, after the change, and not emptied: a thread that looked before the change then
        # remembers its answer where nobody looks any more.
        self._networks = lru_cache(REMEMBERED_CLIENTS)(self._find_networks)
        self._everything = lru_cache(REMEMBERED_CLIENTS)(self._find_everything)

    def _find_networks(self, number: int, *, whole: bool = False) -> Rules:
        """Return the rules about networks, unless `whole` only as far as one that is final."""
        found: Rules = ()
        for shift, table in self._ipv4 if number < _IPV6 else self._ipv6:
            key = number >> shift
            if key in table:
                found += table.get(key, ())  # another thread may have taken it away meanwhile
                if not whole and _ends(found):
                    break
        return found

    def _find_everything(
        self, number: int, country: str | None, asn: int | None, *, whole: bool = False
    ) -> Rules:
        found = self._find_networks(number, whole=whole)
        if (not whole and _ends(found)) or scope_of(_address(number)) is not Scope.GLOBAL:
            return found
        if asn is not None:
            found += self._asns.get(f"AS{asn}", ())
        if country is not None:
            found += self._countries.get(country, ())
        if country is not None or self._unknown_is_any:
            found += self._countries.get(ANY_COUNTRY, ())
        return found


def _verdict(rule: Rule | None, would: Rule | None) -> Verdict:
    if rule is not None and rule.action is RuleAction.BLOCK:
        return _made(VerdictKind.BLOCKED, rule.id)
    if would is not None and would.action is RuleAction.BLOCK:
        return _made(VerdictKind.OBSERVED, would.id)
    return ALLOWED if rule is None else _made(VerdictKind.ALLOWED, rule.id)


@lru_cache(REMEMBERED_CLIENTS)
def _made(kind: VerdictKind, rule: int) -> Verdict:
    return Verdict(kind, rule=rule)


def _ends(found: Rules) -> bool:
    """Tell whether one of the rules decides whenever it is reached, so that none behind it can."""
    return any(not (one.observed or one.path or one.methods or one.expires_at) for one in found)


def _precedence(rule: Rule) -> tuple[bool, bool, int]:
    """Return what orders the rules of one target, the deciding one first."""
    is_scoped = bool(rule.path or rule.methods)
    return not is_scoped, rule.action is not RuleAction.ALLOW, rule.id


def _first_and_shift(network: str) -> tuple[int, int]:
    """Return the number of a network's first address, and how many bits stand for its hosts."""
    first, _, length = network.partition("/")
    if ":" in first:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, first)) + _IPV6
        return number, 128 - int(length or 128)
    return int.from_bytes(socket.inet_aton(first)), 32 - int(length or 32)


def _with_length(
    tables: tuple[tuple[int, dict[int, Rules]], ...], shift: int
) -> tuple[tuple[tuple[int, dict[int, Rules]], ...], dict[int, Rules]]:
    """Return the tables with one for this prefix length, and that one."""
    for length, table in tables:
        if length == shift:
            return tables, table
    added: dict[int, Rules] = {}
    return tuple(sorted([*tables, (shift, added)], key=lambda pair: pair[0])), added


def _address(number: int) -> IPAddress:
    if number >= _IPV6:
        return ipaddress.IPv6Address(number - _IPV6)
    return ipaddress.IPv4Address(number)
