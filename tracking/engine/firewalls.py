"""Rules on addresses and networks in the words of nginx, nftables and ipset.

nginx takes the first line that matches: the longest prefix stands first, as it decides here. Sets
know nothing of precedence, so they hold the addresses that are refused in the end, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from itertools import islice
from typing import Literal

from tracking.engine.address import IPNetwork
from tracking.engine.rules import RuleAction

NetworkRules = Iterable[tuple[IPNetwork, RuleAction]]

TABLE = "inet alx_security"
SET_NAMES = {RuleAction.BLOCK: "blocked", RuleAction.ALLOW: "allowed"}
ROOMY = 1 << 20  # entries of an ipset; always the same, for a set that exists cannot be resized
_TYPES: dict[int, str] = {4: "ipv4_addr", 6: "ipv6_addr"}
_FAMILIES: dict[int, str] = {4: "inet", 6: "inet6"}
_PER_LINE = 8
_VERSIONS: tuple[Literal[4, 6], ...] = (4, 6)


def nginx(rules: NetworkRules, action: RuleAction | None) -> Iterator[str]:
    """Yield `deny` and `allow` lines; with an action, only those for it."""
    yield "# Include this in a server or location of nginx.\n"
    words = {RuleAction.BLOCK: "deny", RuleAction.ALLOW: "allow"}
    for network, what in sorted(set(rules), key=_first_to_match):
        if action in {None, what}:
            yield f"{words[what]} {network};\n"


def nftables(rules: NetworkRules, action: RuleAction | None) -> Iterator[str]:
    """Yield what `nft -f` reads: two sets, filled anew in one step."""
    action = action or RuleAction.BLOCK
    rules = list(rules)
    yield f"add table {TABLE}\n"
    for version in _VERSIONS:
        name = f"{TABLE} {SET_NAMES[action]}{version}"
        yield f"add set {name} {{ type {_TYPES[version]}; flags interval; }}\n"
        yield f"flush set {name}\n"
        networks = map(str, decided(rules, action, version))
        while part := list(islice(networks, _PER_LINE)):
            yield f"add element {name} {{ {', '.join(part)} }}\n"


def ipset(rules: NetworkRules, action: RuleAction | None) -> Iterator[str]:
    """Yield what `ipset restore -exist` reads: two sets, filled anew."""
    action = action or RuleAction.BLOCK
    rules = list(rules)
    for version in _VERSIONS:
        name = f"{SET_NAMES[action]}{version}"
        networks = list(decided(rules, action, version))
        room = max(ROOMY, 1 << len(networks).bit_length())
        yield f"create {name} hash:net family {_FAMILIES[version]} maxelem {room}\n"
        yield f"flush {name}\n"
        for network in networks:
            # A set of networks cannot hold the one of all addresses.
            halves = network.subnets() if network.prefixlen == 0 else [network]
            yield from (f"add {name} {half}\n" for half in halves)


def decided(rules: NetworkRules, action: RuleAction, version: Literal[4, 6]) -> Iterator[IPNetwork]:
    """Yield, in order and without overlap, the networks for which the rules come to this action."""
    kind = IPv4Address if version == 4 else IPv6Address
    of_version = [(network, what) for network, what in rules if network.version == version]
    for first, last in _merged(_spans(sorted(of_version, key=_outermost_first), action)):
        yield from summarize_address_range(kind(first), kind(last))


def _spans(rules: list[tuple[IPNetwork, RuleAction]], action: RuleAction) -> Iterator[_Span]:
    """Walk along the addresses through networks that nest, the innermost deciding."""
    inside: list[tuple[int, RuleAction]] = []  # the last number and the action of each around
    at = 0
    for network, what in rules:
        first, last = int(network[0]), int(network[-1])
        while inside and inside[-1][0] < first:
            end, decides = inside.pop()
            if decides is action and at <= end:
                yield at, end
            at = end + 1
        if inside and inside[-1][1] is action and at < first:
            yield at, first - 1
        inside.append((last, what))
        at = first
    while inside:
        end, decides = inside.pop()
        if decides is action and at <= end:
            yield at, end
        at = end + 1


def _merged(spans: Iterable[_Span]) -> Iterator[_Span]:
    begun: _Span | None = None
    for first, last in spans:
        if begun is not None and begun[1] + 1 == first:
            begun = begun[0], last
            continue
        if begun is not None:
            yield begun
        begun = first, last
    if begun is not None:
        yield begun


def _first_to_match(rule: tuple[IPNetwork, RuleAction]) -> tuple[int, int, int, bool]:
    network, action = rule
    return network.version, -network.prefixlen, int(network[0]), action is not RuleAction.ALLOW


def _outermost_first(rule: tuple[IPNetwork, RuleAction]) -> tuple[int, int, bool]:
    network, action = rule
    # Of two rules on one network the last is the inner one, and ALLOW decides.
    return int(network[0]), network.prefixlen, action is RuleAction.ALLOW


_Span = tuple[int, int]
WRITERS: dict[str, Callable[[NetworkRules, RuleAction | None], Iterator[str]]] = {
    "nginx": nginx,
    "nftables": nftables,
    "ipset": ipset,
}
