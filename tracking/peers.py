"""What the record says about the settings of proxies.

Behind a proxy that TRACKING_TRUSTED_PROXIES does not name every client has the proxy's address, so
that blocking or limiting one hits all.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.conf import settings

from tracking import conf, ipstorage
from tracking.engine.address import Scope, parse_address, scope_of
from tracking.models import LIVE, RequestLog
from tracking.visits import UNTRUSTED_HEADER

LOOKED_BACK = timedelta(hours=1)
LOOKED_AT = 1000  # requests
MOST_PROXIES = 16  # addresses; more of them are clients that forge the header
ENOUGH = 50  # requests to say anything at all
_SHARED = {Scope.PRIVATE, Scope.CGNAT, Scope.LINK_LOCAL, Scope.LOOPBACK}


def problem(now: datetime) -> str:
    """Return what is probably wrong, and what to do about it; nothing when all looks well.

    Asks about the newest requests of the last hour. Raises DatabaseError.
    """
    rows = list(
        RequestLog.objects.window(now - LOOKED_BACK, now)
        .filter(source=LIVE)
        .order_by("-at", "-pk")
        .values_list("address", "tags")[:LOOKED_AT]
    )
    if len(rows) < ENOUGH:
        return ""
    forwarded = Counter(address for address, tags in rows if UNTRUSTED_HEADER in tags)
    if forwarded.total() * 2 > len(rows) and len(forwarded) <= MOST_PROXIES:
        return _forwarding([address for address, _ in forwarded.most_common(3)])
    if not ipstorage.is_full():  # nothing in the record tells a proxy from a client
        return ""
    address = rows[0][0]
    if all(row[0] == address for row in rows) and _is_shared(address):
        return (
            f"Every one of the last {len(rows)} requests came from {address}. If a proxy stands"
            " there, put it in TRACKING_TRUSTED_PROXIES and let it send"
            f" {conf.current().trusted_proxy_header}; else all clients are counted as one."
        )
    return ""


def _forwarding(addresses: list[str]) -> str:
    header = conf.current().trusted_proxy_header
    names = ", ".join(addresses) if ipstorage.is_full() else "few addresses"
    return (
        f"Most requests carry {header}, which is not believed, and come from {names}."
        " If proxies of yours stand there, put them in TRACKING_TRUSTED_PROXIES; else all of their"
        " clients are counted as one."
    )


def _is_shared(address: str) -> bool:
    """Tell whether so many clients of one address are strange; not on a developer's machine."""
    scope = scope_of(parse_address(address))
    return scope in _SHARED and not (settings.DEBUG and scope is Scope.LOOPBACK)
