"""Databases of places that the tests write for themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

NETWORK = "81.2.69.0/24"
INSIDE = "81.2.69.142"

CITY = {"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}}
COUNTRY = {"country": {"iso_code": "FR"}}
ASN = {"autonomous_system_number": 20712, "autonomous_system_organization": "Andrews & Arnold"}
IPINFO = {"asn": "AS2856", "country": "United Kingdom", "country_code": "GB"}


class Writer(MMDBWriter):
    """Writes the build date it is told instead of the present."""

    built = datetime(2026, 10, 1, tzinfo=UTC)

    def _build_meta(self) -> dict[str, Any]:
        return super()._build_meta() | {"build_epoch": int(self.built.timestamp())}


def write(
    path: Path,
    kind: str,
    records: dict[str, Any],
    built: datetime = Writer.built,
    ip_version: int = 6,
) -> Path:
    """Write a database of type `kind` with a record for each network; return its path."""
    writer = Writer(
        ip_version, kind, ipv4_compatible=ip_version == 6, description={"en": "made by a test"}
    )
    writer.built = built
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.to_db_file(str(path))
    return path
