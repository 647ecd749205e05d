"""Fetch databases of places and put them where `tracking.geo` reads them (docs/geo.md).

A database that is not whole, sound and of the wanted kind never takes the place of another, and
the change itself is one rename: who reads at that moment reads the old file or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

from tracking import download
from tracking.archives import is_tar, take_member
from tracking.conf import current
from tracking.download import Advance, DownloadError, RefusedError
from tracking.geo import Database, GeoFileError, Reader
from tracking.geosources import SOURCES, Offer, chosen
from tracking.readers import MIB

LARGEST_DOWNLOAD = 512 * MIB
LARGEST_DATABASE = 2048 * MIB
EDITIONS = ("city", "country", "asn")
USUAL_EDITIONS = ("city", "asn")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to fetch. Without `url` and `file` one of geosources.SOURCES is asked."""

    edition: str
    source: str | None = None  # its key; None: the first that is ready
    url: str | None = None
    sha256: str | None = None  # of the file as sent, or of the database in it
    file: Path | None = None
    force: bool = False  # take it though it is older, unchanged, or in the place of a foreign file
    check: bool = False  # only tell whether there is something newer
    if_older: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one order; `about` is the sidecar of what is now in place."""

    edition: str
    state: str  # "updated", "current", "available", "unreachable" or "failed"
    message: str
    path: str
    about: dict[str, Any]


def editions() -> tuple[str, ...]:
    """Return what is fetched when nobody says: one edition where GEOIP_PATH names one file."""
    return USUAL_EDITIONS[:1] if _is_one_file(current().geoip) else USUAL_EDITIONS


def update(orders: list[Order], advance: Advance) -> list[Outcome]:
    """Carry out the orders one after the other; each succeeds or fails on its own.

    Raises RefusedError when another run is at work or the folder cannot be used.
    """
    root = current().geoip
    if _is_one_file(root) and len(orders) > 1:
        raise RefusedError(f"GEOIP_PATH names one file ({root}); name a folder to have several")
    folder = root.parent if _is_one_file(root) else root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            return [_carried_out(order, _target(root, order), advance) for order in orders]
    except OSError as error:
        raise RefusedError(f"{folder} cannot be used: {error.strerror or error}") from None


def update_weekly() -> list[Outcome]:
    """Fetch what is a week old; where somebody's own file is GEOIP_PATH, nothing.

    Raises RefusedError as `update` does.
    """
    orders = [Order(edition=edition, if_older=timedelta(days=7)) for edition in editions()]
    if _is_foreign(_Present(_target(current().geoip, orders[0]))):
        return []
    return update(orders, lambda *_: None)


def _carried_out(order: Order, target: Path, advance: Advance) -> Outcome:
    present = _Present(target)
    try:
        state, message = _checked(order, present) if order.check else _got(order, present, advance)
    except DownloadError as error:
        state, message = "unreachable", f"No source could be reached ({error}). {present.kept()}"
    except (RefusedError, GeoFileError) as error:
        state, message = "failed", f"{error}. {present.kept()}"
    except OSError as error:
        where = error.filename or target
        state, message = "failed", f"{where}: {error.strerror or error}. {present.kept()}"
    about = _Present(target).about
    return Outcome(order.edition, state, message, str(target), about)


def _checked(order: Order, present: _Present) -> tuple[str, str]:
    def ask(offer: Offer) -> bool:
        if offer.md5:
            return offer.md5 != present.md5()
        return download.has_changed(offer.url, present.validators(offer.url), offer.authorization)

    offer, changed = _asked(order, ask)
    if changed:
        return "available", f"{download.host(offer.url)} has something newer, or does not say."
    return "current", f"{download.host(offer.url)} has nothing newer. {present.kept()}"


def _got(order: Order, present: _Present, advance: Advance) -> tuple[str, str]:
    age = present.age()
    if order.if_older and age is not None and timedelta() <= age < order.if_older:
        return "current", f"A source was asked not long ago. {present.kept()}"
    if _is_foreign(present) and not order.force:
        raise RefusedError(f"{present.path} was put there by somebody else; --force replaces it")
    if order.file:
        with order.file.open("rb") as given:
            return _installed(order, present, given, {"source": "file", "url": order.file.name})
    with tempfile.TemporaryFile(dir=present.path.parent) as sent:

        def ask(offer: Offer) -> download.Received | None:
            sent.seek(0)
            sent.truncate()
            if offer.md5 and offer.md5 == present.md5() and not order.force:
                return None
            known = {} if order.force else present.validators(offer.url)
            return download.fetch(
                offer.url, sent, LARGEST_DOWNLOAD, known, advance, offer.authorization
            )

        offer, received = _asked(order, ask)
        host = download.host(offer.url)
        if received is None:
            present.write_sidecar(present.about)
            return "current", f"{host} has nothing newer. {present.kept()}"
        origin: dict[str, Any] = {"source": host, "url": download.without_secrets(offer.url)}
        origin["validators"] = received.validators
        return _installed(order, present, sent, origin, offer.md5)


def _asked(order: Order, ask: Callable[[Offer], Answer]) -> tuple[Offer, Answer]:
    """Return the first offer that answers, and its answer."""
    today = datetime.now(UTC).date()
    if order.url:
        offers: tuple[Offer, ...] = (Offer(order.url),)
    else:
        offers = chosen(order.edition, order.source).offers(order.edition, today)
    reasons = []
    for offer in offers:
        try:
            download.checked(offer.url)
            return offer, ask(offer)
        except DownloadError as error:
            reasons.append(str(error))
    raise DownloadError("; ".join(dict.fromkeys(reasons)))


def _installed(
    order: Order, present: _Present, sent: IO[bytes], origin: dict[str, Any], md5: str = ""
) -> tuple[str, str]:
    part = present.path.with_name(f".{present.path.name}.part")
    try:
        digest = download.unpack(sent, part, LARGEST_DATABASE, order.sha256)
        if is_tar(part):
            take_member(part, ".mmdb", LARGEST_DATABASE)
            digest = download.sha256(part)
        if md5 and _md5(part) != md5:
            raise RefusedError("the MD5 is not the one the source told before")
        new, old = Reader(part).about, present.database
        if order.edition not in new.kinds:
            knows = ", ".join(new.kinds)
            raise RefusedError(f"{new.type} is no database of edition {order.edition} ({knows})")
        if old and new.built < old.built and _is_rival(order, old, new) and not order.force:
            return _older(order, present, new)
        unchanged = digest == present.about.get("sha256")
        if not unchanged:
            download.put_in_place(part, present.path)
    finally:
        part.unlink(missing_ok=True)
    present.write_sidecar(origin | _described(new) | {"edition": order.edition, "sha256": digest})
    if unchanged:
        return "current", f"{present.path} is what the source has."
    return "updated", f"{present.path} is now {new.type} of {new.built:%Y-%m-%d}."


def _is_rival(order: Order, old: Database, new: Database) -> bool:
    """Tell whether the dates of two databases compare: another source's may be an older one."""
    return bool(order.url or order.file) or old.type == new.type


def _older(order: Order, present: _Present, new: Database) -> tuple[str, str]:
    older = f"{new.type} of {new.built:%Y-%m-%d} is older than what is here"
    if order.url or order.file:
        raise RefusedError(f"{older}; --force takes it")
    return "current", f"{older}. {present.kept()}"


def _described(database: Database) -> dict[str, Any]:
    about: dict[str, Any] = {"type": database.type, "built": database.built.isoformat()}
    for source in SOURCES:
        if database.type.lower().startswith(tuple(map(str.lower, source.types))):
            about |= {"licence": source.licence, "attribution": source.attribution}
    return about


class _Present:
    """The database in place, and what its sidecar file says of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sidecar = path.with_name(path.name + ".json")
        self.database: Database | None = None
        self.about: dict[str, Any] = {}
        with suppress(OSError, GeoFileError):
            self.database = Reader(path).about
            with suppress(FileNotFoundError, ValueError):
                about = json.loads(self.sidecar.read_text())
                if isinstance(about, dict) and about.get("sha256") == download.sha256(path):
                    self.about = about

    def kept(self) -> str:
        if self.database is None:
            return f"There is no database at {self.path}; what no other file tells stays unknown."
        return f"The database of {self.database.built:%Y-%m-%d} at {self.path} stays in use."

    def validators(self, url: str) -> dict[str, str]:
        """Return what the server needs to say "not changed", if it was this URL."""
        kept = self.about.get("validators")
        same = self.about.get("url") == download.without_secrets(url)
        return kept if same and isinstance(kept, dict) else {}

    def md5(self) -> str:
        """Return the MD5 of the database in place, empty when there is none."""
        return _md5(self.path) if self.database else ""

    def age(self) -> timedelta | None:
        """Return how long ago a source was last asked; None when that is unknown."""
        try:
            return datetime.now(UTC) - datetime.fromisoformat(self.about["checked"])
        except (KeyError, TypeError, ValueError):
            return None

    def write_sidecar(self, about: dict[str, Any]) -> None:
        part = self.sidecar.with_name(f".{self.sidecar.name}.part")
        part.write_text(json.dumps(about | {"checked": datetime.now(UTC).isoformat()}, indent=1))
        part.replace(self.sidecar)


def _md5(path: Path) -> str:
    """Return what MaxMind tells its databases apart by; nothing here relies on it for safety."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _not_for_safety).hexdigest()


def _not_for_safety() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _target(root: Path, order: Order) -> Path:
    return root if _is_one_file(root) else root / f"{order.edition}.mmdb"


def _is_one_file(root: Path) -> bool:
    return root.is_file() or (root.suffix == ".mmdb" and not root.is_dir())


def _is_foreign(present: _Present) -> bool:
    return present.database is not None and not present.about and _is_one_file(current().geoip)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    with (folder / ".update_geoip.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(
                f"Another update_geoip is at work in {folder}; let it finish"
            ) from None
        yield
