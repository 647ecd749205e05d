"""Who publishes databases of places, and how each is asked for them."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

from tracking import download
from tracking.conf import current
from tracking.download import DownloadError, RefusedError

LARGEST_LIST = 64 * 1024  # bytes of MaxMind's list of databases
IPINFO_LITE = "https://ipinfo.io/data/ipinfo_lite.mmdb"


@dataclass(frozen=True, slots=True)
class Offer:
    """Where a database lies; what to present there; the MD5 it has, where that is told before."""

    url: str
    authorization: str = ""
    md5: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who publishes databases."""

    key: str
    name: str
    licence: str
    attribution: str
    types: tuple[str, ...]  # how the types written in its databases begin
    editions: tuple[str, ...]
    needs: str  # what must be set before it can be asked
    ready: Callable[[], bool]
    offers: Callable[[str, date], tuple[Offer, ...]]  # of an edition, today; the likeliest first


def chosen(edition: str, key: str | None) -> Source:
    """Return whom to ask: the source with this key, else the first that is ready.

    Raises RefusedError.
    """
    for source in SOURCES:
        if key is None and edition in source.editions and source.ready():
            return source
        if key == source.key:
            if edition not in source.editions:
                raise RefusedError(f"{source.name} has no edition {edition}")
            if not source.ready():
                raise RefusedError(f"{source.name} needs {source.needs}")
            return source
    raise RefusedError(f"there is no source {key or ''} for edition {edition}")


def _maxmind_offers(edition: str, _: date) -> tuple[Offer, ...]:
    """Ask for the newest date and MD5 first: a list costs no download of those a day allows."""
    account = current().geoip_accounts
    name = account.maxmind_name(edition)
    if not name:
        raise RefusedError(f"GEOIPUPDATE_EDITION_IDS names no database of edition {edition}")
    pair = f"{account.maxmind_account}:{account.maxmind_key}".encode()
    authorization = "Basic " + base64.b64encode(pair).decode()
    asked = f"{account.maxmind_host}/geoip/updates/metadata?edition_id={quote(name)}"
    day, md5 = _newest(name, _list(asked, authorization))
    url = f"{account.maxmind_host}/geoip/databases/{quote(name)}/download"
    return (Offer(f"{url}?date={day}&suffix=tar.gz", authorization, md5),)


def _list(url: str, authorization: str) -> Any:
    sent = io.BytesIO()
    download.fetch(url, sent, LARGEST_LIST, {}, lambda *_: None, authorization)
    try:
        return json.loads(sent.getvalue())
    except (ValueError, RecursionError):
        raise DownloadError(f"{download.host(url)} sends a list that is no JSON") from None


def _newest(name: str, told: Any) -> tuple[str, str]:
    """Return date and MD5 of a database from MaxMind's list."""
    listed = told.get("databases") if isinstance(told, dict) else told
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("edition_id") == name:
            day, md5 = str(entry.get("date")).replace("-", ""), str(entry.get("md5")).lower()
            if re.fullmatch("[0-9]{8}", day, re.ASCII) and re.fullmatch("[0-9a-f]{32}", md5):
                return day, md5
    raise DownloadError(f"MaxMind lists no {name} with date and MD5")


def _ipinfo_offers(_: str, __: date) -> tuple[Offer, ...]:
    # As a header: what stands in a URL stands in the logs on the way, too.
    return (Offer(IPINFO_LITE, f"Bearer {current().geoip_accounts.ipinfo_token}"),)


def _db_ip_offers(edition: str, today: date) -> tuple[Offer, ...]:
    """A month's databases come on its first days; until then last month's are the newest."""
    last_month = today.replace(day=1) - timedelta(days=1)
    return tuple(
        Offer(f"https://download.db-ip.com/free/dbip-{edition}-lite-{month:%Y-%m}.mmdb.gz")
        for month in (today, last_month)
    )


# The first that is ready and has the edition is asked.
SOURCES: tuple[Source, ...] = (
    Source(
        key="maxmind",
        name="MaxMind",
        licence="MaxMind's end user licence agreement",
        attribution="This product includes GeoLite Data created by MaxMind, https://www.maxmind.com",
        types=("GeoLite2-", "GeoIP2-"),
        editions=("city", "country", "asn"),
        needs="GEOIPUPDATE_ACCOUNT_ID and GEOIPUPDATE_LICENSE_KEY",
        ready=lambda: bool(current().geoip_accounts.maxmind_key),
        offers=_maxmind_offers,
    ),
    Source(
        key="ipinfo",
        name="IPinfo Lite",
        licence="CC BY-SA 4.0",
        attribution="IP address data is powered by IPinfo, https://ipinfo.io",
        types=("ipinfo",),
        editions=("country", "asn"),
        needs="IPINFO_TOKEN",
        ready=lambda: bool(current().geoip_accounts.ipinfo_token),
        offers=_ipinfo_offers,
    ),
    Source(
        key="dbip",
        name="DB-IP Lite",
        licence="CC BY 4.0",
        attribution="IP Geolocation by DB-IP, https://db-ip.com",
        types=("DBIP-",),
        editions=("city", "country", "asn"),
        needs="nothing",
        ready=lambda: True,
        offers=_db_ip_offers,
    ),
)
