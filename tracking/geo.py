"""Where an address is: country, city and autonomous system, from MMDB files (docs/geo.md).

Files are read by what their records look like, MaxMind's own types by MaxMind's `geoip2`. Nothing
here fails for a file that is missing, damaged or being replaced: the place is unknown, one warning
says why, and the file is read as soon as it is good.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import maxminddb
import maxminddb.reader
from geoip2.models import ASN, City

from tracking.conf import current
from tracking.engine.address import IPAddress, shown
from tracking.engine.place import NOWHERE, Place, locatable, place_in, place_of, printable
from tracking.geofiles import (
    BeingWrittenError,
    GeoFileError,
    Signature,
    files_at,
    private_copy,
)

__all__ = ["NOWHERE", "Database", "GeoFileError", "Place", "Reader", "locate", "reset", "status"]

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0  # how long a changed file may go unnoticed
REMEMBERED_ADDRESSES = 16_384
REMEMBERED_RECORDS = 32_768  # of a file
SAMPLED_NETWORKS = 1_000  # of a file, to learn what it knows
KINDS = ("city", "country", "asn")
MAXMIND = ("GeoIP2-", "GeoLite2-")
MAXMIND_NETWORKS = ("GeoLite2-ASN", "GeoIP2-ISP")


@dataclass(frozen=True, slots=True)
class Database:
    """A file in use: its name, the type written in it, the facts it knows, when it was built."""

    name: str
    type: str
    kinds: tuple[str, ...]  # a part of KINDS
    built: datetime


def locate(address: IPAddress) -> Place:
    """Return the place of an address, NOWHERE when it has none or nobody knows.

    Private, reserved and other special addresses are never looked up; IPv4-mapped and NAT64 ones
    are looked up as the IPv4 address they carry. Never raises, never uses the network. The answer
    is remembered for at most TRACKING_CACHE_TTL_PLACES, and with the files it comes from.
    """
    loaded = _databases()
    return loaded.find(address, time.monotonic() // loaded.period)


def status() -> tuple[Database, ...]:
    """Return the files in use, in the order in which they are asked."""
    return tuple(reader.about for reader in _databases().readers)


def reset() -> None:
    """Forget all files and answers; the next question reads the files anew."""
    global _lock, _loaded, _checked_at
    _lock = threading.Lock()  # in a forked child nobody would release the inherited one
    _loaded = None
    _checked_at = -math.inf


class Reader:
    """One MMDB file, served from a private copy.

    A mapped file that somebody truncates in place kills the process (SIGBUS), and to hold files
    in memory costs each process their size. So the file is copied to an unlinked one that nobody
    else can reach, and that one is mapped.
    """

    def __init__(self, path: Path) -> None:
        """Raises GeoFileError, or OSError when the file cannot be read or copied."""
        self._path = path
        self._complained = False
        with private_copy(path) as (copy, self.signature):
            try:
                self._records = _Records(copy)
                written = self._records.metadata()
                self.about = Database(
                    name=path.name,
                    type=printable(written.database_type, 64) or "",
                    kinds=self._sampled_kinds(),
                    built=datetime.fromtimestamp(written.build_epoch, UTC),
                )
            except OSError:
                raise
            except Exception as error:
                raise GeoFileError("it is damaged or no MMDB file at all") from error
        if not self.about.kinds:
            raise GeoFileError("it knows no city, country or autonomous system")

    def find(self, address: IPAddress) -> Place:
        """Return what this file knows of an address. Never raises."""
        try:
            return self._records.place(address)
        except Exception as error:  # noqa: BLE001 - a damaged record fails in any way
            if not self._complained:
                self._complained = True
                logger.warning("Geolocation: %s has damaged records: %s", self._path, _said(error))
            return NOWHERE

    def _sampled_kinds(self) -> tuple[str, ...]:
        networks = islice(self._records, SAMPLED_NETWORKS)
        places = [self._records.place(network[0]) for network, _ in networks]
        return tuple(kind for kind in KINDS if any(getattr(place, kind) for place in places))


class _Records(maxminddb.reader.Reader):
    """maxminddb's reader in Python, which remembers what each record says.

    Its reader in C trusts the file: one damaged byte can make it write where it should not (it
    takes whatever stands where the key of a map should be for text). To decode a record is what
    costs here, but most networks share theirs with others; then this is as quick as C.
    """

    def __init__(self, file: str) -> None:
        super().__init__(file, maxminddb.MODE_MMAP)
        self._interpret = _interpreter(str(self.metadata().database_type))
        self._places: dict[int, Place] = {}

    def place(self, address: IPAddress) -> Place:
        if address.version > self.metadata().ip_version:
            return NOWHERE
        pointer, _ = self._find_address_in_tree(bytearray(address.packed))
        place = self._places.get(pointer) if pointer else NOWHERE
        if place is None:
            if len(self._places) >= REMEMBERED_RECORDS:
                self._places.clear()
            place = self._places[pointer] = self._interpret(self._resolve_data_pointer(pointer))
        return place


def _interpreter(kind: str) -> Callable[[Any], Place]:
    if not kind.startswith(MAXMIND):
        return place_in
    return _maxmind_network if kind.startswith(MAXMIND_NETWORKS) else _maxmind_place


def _maxmind_place(record: Any) -> Place:
    found = City(("en",), **record)  # Country and Enterprise records have the same form
    return place_of(found.country.iso_code, found.city.name, found.traits.autonomous_system_number)


def _maxmind_network(record: Any) -> Place:
    return place_of(None, None, ASN("0.0.0.0", **record).autonomous_system_number)  # noqa: S104


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a file is not used; None as signature: ask again even if the file stays as it is."""

    signature: Signature | None
    complaint: str


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The files as they were at one look, and the answers that come from them.

    An answer is remembered under the number of the period (in seconds) in which it was looked up.
    """

    files: dict[Path, Reader | _Refused]
    complaints: frozenset[str]
    readers: tuple[Reader, ...]
    find: Callable[[IPAddress, float], Place]
    period: float


def _databases() -> _Loaded:
    global _loaded, _checked_at
    loaded, lock = _loaded, _lock
    if loaded is None:
        lock.acquire()  # only the first look is worth waiting for
    elif time.monotonic() < _checked_at + CHECK_SECONDS or not lock.acquire(blocking=False):
        return loaded
    try:
        if _loaded is None or time.monotonic() >= _checked_at + CHECK_SECONDS:
            _loaded = _looked_again(_loaded)
            _checked_at = time.monotonic()
        return _loaded
    finally:
        lock.release()


def _looked_again(old: _Loaded | None) -> _Loaded:
    """Return `old` when the files are as before; old readers live on in lookups under way."""
    root = current().geoip
    before = old.files if old else {}
    files: dict[Path, Reader | _Refused] = {}
    try:
        for path, signature in files_at(root):
            files[path] = _read(path, signature, before.get(path))
    except OSError as error:
        files[root] = _Refused(None, f"{root}: {_said(error)}")
    if old and files == before:
        return old
    return _assembled(root, files, old.complaints if old else frozenset())


def _assembled(root: Path, files: dict[Path, Reader | _Refused], known: frozenset[str]) -> _Loaded:
    readers = [file for file in files.values() if isinstance(file, Reader)]
    readers.sort(key=lambda reader: [kind not in reader.about.kinds for kind in KINDS])
    complaints = {file.complaint for file in files.values() if isinstance(file, _Refused)}
    if not files:
        complaints.add(f"there is no .mmdb file at {root} (`manage.py update_geoip` fetches some)")
    for complaint in sorted(complaints - known):
        logger.warning("Geolocation: %s; the places it would tell stay unknown", complaint)
    logger.info("Geolocation: in use: %s", ", ".join(r.about.name for r in readers) or "nothing")
    lifetime = current().cache_ttl_places
    find = lru_cache(REMEMBERED_ADDRESSES if lifetime else 0)(partial(_combined, tuple(readers)))
    return _Loaded(files, frozenset(complaints), tuple(readers), find, lifetime or 1.0)


def _read(path: Path, signature: Signature, known: Reader | _Refused | None) -> Reader | _Refused:
    if known is not None and known.signature == signature:
        return known
    try:
        return Reader(path)
    except BeingWrittenError as error:
        return known if isinstance(known, Reader) else _Refused(None, f"{path}: {error}")
    except GeoFileError as error:
        return _Refused(signature, f"{path}: {error}")
    except OSError as error:
        return _Refused(None, f"{path}: {_said(error)}")


def _combined(readers: tuple[Reader, ...], address: IPAddress, _period: float) -> Place:
    """Return each fact from the first file that knows it."""
    public = locatable(address)
    if public is None:
        return NOWHERE
    country = city = asn = None
    for reader in readers:
        found = reader.find(public)
        country, city, asn = country or found.country, city or found.city, asn or found.asn
        if country and city and asn:
            break
    return Place(country, city, asn)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or shown(str(error), 200)


_lock: threading.Lock
_loaded: _Loaded | None
_checked_at: float
reset()
os.register_at_fork(after_in_child=reset)
