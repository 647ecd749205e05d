"""Show how a client's address is found."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tracking import conf, geo
from tracking.engine.address import counting_key, scope_of, shown
from tracking.engine.forwarding import client_address


class Command(BaseCommand):
    help = (
        "Show which address a request would be recorded under, given the address of the TCP peer"
        " and the headers it sends, and why."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("peer", help="the address that connects (REMOTE_ADDR)")
        parser.add_argument(
            "-H",
            "--header",
            action="append",
            default=[],
            metavar="'NAME: VALUE'",
            help="a header of the request; may be given several times, as it arrives",
        )

    def handle(self, *, peer: str, header: list[str], **_: Any) -> None:
        configuration = conf.current()
        name = configuration.trusted_proxy_header
        values = [text.partition(":")[2].strip() for text in header if _is(text, name)]
        client = client_address(configuration.proxies, peer, ",".join(values) if values else None)
        place = geo.locate(client.address)
        trusted = ", ".join(map(str, configuration.trusted_proxies)) or "none"
        self._say("peer", f"{shown(peer)} ({'trusted' if client.trusted_peer else 'not trusted'})")
        self._say("trusted proxies", trusted)
        self._say("header", f"{name}: {shown(', '.join(values)) if values else 'not sent'}")
        for number, hop in enumerate(client.hops, 1):
            self._say(f"hop {number} from the right", shown(hop))
        self._say("because", str(client.reason))
        self._say("address", f"{client.address} ({scope_of(client.address)})")
        self._say("counted as", counting_key(client.address, configuration.ipv6_prefix))
        known = [str(fact) for fact in (place.city, place.country, place.asn) if fact]
        self._say("place", ", ".join(known) or "unknown")

    def _say(self, label: str, value: str) -> None:
        self.stdout.write(f"{label + ':':24}{value}")


def _is(header: str, name: str) -> bool:
    return header.partition(":")[0].strip().lower() == name.lower()
