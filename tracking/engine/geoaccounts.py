"""Accounts with those who publish databases of places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAXMIND_HOST = "https://updates.maxmind.com"
# What the databases are called that tell an edition, the usual one first.
MAXMIND_KINDS = {
    "city": ("City", "Enterprise"),
    "country": ("Country",),
    "asn": ("ASN", "ISP"),
}

_FORMS = {
    "maxmind_account": r"[0-9]{1,20}",
    "maxmind_key": r"[!-~]{1,256}",
    "maxmind_editions": r"[A-Za-z0-9-]+(?:[ ,]+[A-Za-z0-9-]+)*",
    "maxmind_host": r"https?://[!-~]{1,200}",
    "ipinfo_token": r"[!-~]{1,256}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoAccounts:
    """What to present to whom; empty texts where there is no account."""

    maxmind_account: str = ""
    maxmind_key: str = field(default="", repr=False)
    maxmind_editions: tuple[str, ...] = ("GeoLite2-City", "GeoLite2-Country", "GeoLite2-ASN")
    maxmind_host: str = MAXMIND_HOST
    ipinfo_token: str = field(default="", repr=False)

    def maxmind_name(self, edition: str) -> str:
        """Return MaxMind's name of the database that tells an edition; empty when none does."""
        names = (
            name
            for kind in MAXMIND_KINDS[edition]
            for name in self.maxmind_editions
            if name.endswith(kind)
        )
        return next(names, "")


def read_geo_accounts(value: object) -> GeoAccounts:
    """Return the accounts in a mapping of texts. Raises ValueError, without showing any value."""
    if not isinstance(value, Mapping):
        raise ValueError("it is no mapping of names to texts")
    told: dict[str, str] = {}
    for name, text in value.items():
        if name not in _FORMS:
            raise ValueError(f"{name!r} is not one of {', '.join(_FORMS)}")
        if not isinstance(text, str) or (text and not re.fullmatch(_FORMS[name], text, re.ASCII)):
            raise ValueError(f"{name} has not the right form")
        if text:
            told[name] = text
    if ("maxmind_account" in told) != ("maxmind_key" in told):
        raise ValueError(
            "maxmind_account and maxmind_key (GEOIPUPDATE_ACCOUNT_ID and"
            " GEOIPUPDATE_LICENSE_KEY of the service) go together: set both or none"
        )
    names = re.split("[ ,]+", told.pop("maxmind_editions", ""))
    editions = {"maxmind_editions": tuple(names)} if names != [""] else {}
    host = {"maxmind_host": told.pop("maxmind_host", MAXMIND_HOST).rstrip("/")}
    return GeoAccounts(**told, **host, **editions)  # type: ignore[arg-type]
