"""Show how a client's address is found, and what is decided about it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from tracking import conf, geo, policy
from tracking.engine.address import counting_key, scope_of, shown
from tracking.engine.forwarding import Client, client_address
from tracking.engine.place import Place
from tracking.explain import QuestionError, Trace, explain, explain_request
from tracking.management.traces import Line, document, lines
from tracking.timebudget import OutOfTime, TimeBudget

ALONE = (
    "Limits are counted in the memory of the processes that answer requests: this command sees none"
    " of that, but `explain` over GraphQL does."
)


class Command(BaseCommand):
    help = (
        "Show which address a request would be recorded under, given the address of the TCP peer"
        " and the headers it sends, and why; then what would be decided about it, by which rule or"
        " limit, and what would change that. With --reference all that of a recorded request."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("peer", nargs="?", help="the address that connects (REMOTE_ADDR)")
        parser.add_argument(
            "-H",
            "--header",
            action="append",
            default=[],
            metavar="'NAME: VALUE'",
            help="a header of the request; may be given several times, as it arrives",
        )
        parser.add_argument("--path", default="/", help="the path, as it is sent (default: /)")
        parser.add_argument("--method", default="GET", help="the HTTP method (default: GET)")
        parser.add_argument(
            "--reference", default="", help="instead of an address: the reference of a refusal"
        )
        parser.add_argument("--json", action="store_true", help="write JSON")

    def handle(
        self,
        *,
        peer: str | None,
        header: list[str],
        path: str,
        method: str,
        reference: str,
        **options: Any,
    ) -> None:
        if (peer is None) is (reference == ""):
            raise CommandError("Write either an address or --reference.", returncode=2)
        client = None if peer is None else _client(header, peer)
        if peer is not None and client is not None and not options["json"]:
            self._say(_forwarding(peer, header, client))
        trace = _trace(client, path, method, reference)
        if options["json"]:
            forwarding = dict(_forwarding(peer, header, client)) if peer and client else None
            self.stdout.write(json.dumps(document(trace) | {"forwarding": forwarding}, indent=2))
            return
        if client is None:
            self._say(_client_of(trace))
        self._say(lines(trace))
        if trace.limits and not conf.current().redis_url:
            self.stdout.write(ALONE)

    def _say(self, told: Iterator[Line]) -> None:
        for label, value in told:
            self.stdout.write(f"{label + ':':24}{value}")


def _trace(client: Client | None, path: str, method: str, reference: str) -> Trace:
    policy.look()
    budget = TimeBudget(conf.current().query_time_budget)
    try:
        if client is None:
            return explain_request(reference, budget)
        return explain(client.address, budget, path, method)
    except QuestionError as error:
        raise CommandError(f"{error.argument}: {error}") from None
    except OutOfTime:
        raise CommandError("The database takes too long: try again.") from None
    except DatabaseError as error:
        raise CommandError(f"The database cannot be asked what is decided: {error}") from None


def _client(headers: list[str], peer: str) -> Client:
    configuration = conf.current()
    values = _values(headers)
    return client_address(configuration.proxies, peer, ",".join(values) if values else None)


def _values(headers: list[str]) -> list[str]:
    name = conf.current().trusted_proxy_header
    return [text.partition(":")[2].strip() for text in headers if _is(text, name)]


def _forwarding(peer: str, headers: list[str], client: Client) -> Iterator[Line]:
    configuration = conf.current()
    values, name = _values(headers), configuration.trusted_proxy_header
    trusted = ", ".join(map(str, configuration.trusted_proxies)) or "none"
    yield "peer", f"{shown(peer)} ({'trusted' if client.trusted_peer else 'not trusted'})"
    yield "trusted proxies", trusted
    yield "header", f"{name}: {shown(', '.join(values)) if values else 'not sent'}"
    for number, hop in enumerate(client.hops, 1):
        yield f"hop {number} from the right", shown(hop)
    yield "because", str(client.reason)
    yield "address", f"{client.address} ({scope_of(client.address)})"
    yield "counted as", counting_key(client.address, configuration.ipv6_prefix)
    yield "place", _known(geo.locate(client.address))


def _client_of(trace: Trace) -> Iterator[Line]:
    yield "address", f"{trace.address} ({trace.scope})"
    yield "place", _known(trace.place)


def _known(place: Place) -> str:
    facts = [str(fact) for fact in (place.city, place.country, place.asn) if fact]
    return ", ".join(facts) or "unknown"


def _is(header: str, name: str) -> bool:
    return header.partition(":")[0].strip().lower() == name.lower()
