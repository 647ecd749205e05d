"""Many addresses of one network that together do what one alone may not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tracking.detectors.detector import MILD, SEVERE, Detector, evidence_of, in_every_case, seconds
from tracking.engine.address import IPNetwork, parse_network
from tracking.engine.findings import Finding, Mode, Severity
from tracking.evidence import Seen, Span

WIDTHS = {4: 24, 6: 48}  # the prefix lengths of networks that are looked at


def _find(span: Span, thresholds: Mapping[str, int]) -> Iterator[Finding]:
    width = seconds(thresholds)
    members: defaultdict[IPNetwork, dict[IPNetwork, list[Seen]]] = defaultdict(dict)
    for key, tagged in span.tagged(width, only_attacks=True).items():
        seen = [one for one in tagged if (SEVERE | MILD) & set(one.tags)]
        if seen:
            client = parse_network(key)
            around = client.supernet(new_prefix=min(WIDTHS[client.version], client.prefixlen))
            members[around][client] = seen
    for clients in members.values():
        hits = sum(map(len, clients.values()))
        if len(clients) >= thresholds["members"] and hits >= thresholds["hits"]:
            yield _finding(span, clients, hits, thresholds)


def _finding(
    span: Span,
    clients: Mapping[IPNetwork, list[Seen]],
    hits: int,
    thresholds: Mapping[str, int],
) -> Finding:
    seen = sorted((one for each in clients.values() for one in each), key=lambda one: one.at)
    network = smallest_around(list(clients))
    others, users = span.bystanders(network, {one.key for one in seen})
    return Finding(
        detector=SWARM.name,
        target=network,
        severity=Severity.HIGH,
        reason=f"{len(clients)} addresses of {network} sent {hits} requests with attacks or"
        f" probes; {others} others of it, and {users} users, were seen within a day",
        count=hits,
        threshold=thresholds["hits"],
        start=seen[0].at,
        end=seen[-1].at,
        evidence=evidence_of(seen),
    )


def smallest_around(networks: list[IPNetwork]) -> IPNetwork:
    """Return the smallest network that holds all of these."""
    first, last = min(map(_first, networks)), max(map(_last, networks))
    network = networks[0]
    while _first(network) > first or _last(network) < last:
        network = network.supernet()
    return network


def _first(network: IPNetwork) -> int:
    return int(network.network_address)


def _last(network: IPNetwork) -> int:
    return int(network.broadcast_address)


SWARM = Detector(
    name="swarm",
    description="At least `members` addresses of one /24 (of IPv6, /64 of one /48) send `hits`"
    " requests with attacks or probes together within `window` seconds. The smallest network around"
    " them is the target; a person decides, who sees whom else a block would hit.",
    thresholds={"members": 4, "hits": 8, "window": 3600},
    modes=in_every_case(Mode.SUGGEST),
    find=_find,
)
