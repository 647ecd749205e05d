"""Look up the places of requests that were recorded when nobody knew them.

Rows are read in the order of their keys and written a few at a time, so that whoever records
requests hardly waits. How far a run came is kept: a run that was stopped is taken up by the next
one that asks the same question of the same databases.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Max, Min
from django.db.models.functions import Now

from tracking import geo, ipstorage, rollups
from tracking.engine.address import parse_address
from tracking.engine.place import Place, locatable
from tracking.models import ReadPosition, RequestLog

WINDOW_KEYS = 10_000  # looked through at once
MOST_ROWS, FEWEST_ROWS = 1000, 20  # of one transaction
LONGEST_SECONDS = 0.05  # of one transaction; after a longer one the next is half as large

Update = tuple[str, str, int | None, int]  # country, city, ASN, key
Advance = Callable[[int, int], None]  # so many keys done, of so many


class NoDatabaseError(Exception):
    """There is no database of places to ask."""


@dataclass
class Report:
    """What became of the rows without a place that were looked at.

    `nowhere` are private and other special addresses, `unknown` those that no database knows.
    """

    located: int = 0
    nowhere: int = 0
    unknown: int = 0


class Backfill:
    """One run over the rows recorded so far, those made before `since` left out."""

    def __init__(self, since: datetime | None = None) -> None:
        self.report = Report()
        self._since = since
        self._batch = MOST_ROWS

    def run(self, advance: Advance) -> Report:
        """Give every row its place that can have one; `report` tells also while it runs.

        Raises NoDatabaseError and DatabaseError; what is done until then stays.
        """
        databases = geo.status()
        if not databases:
            raise NoDatabaseError
        position, _ = ReadPosition.objects.get_or_create(name=_name(databases, self._since))
        keys = RequestLog.objects.aggregate(first=Min("pk"), last=Max("pk"))
        first, last = (keys["first"] or 1) - 1, keys["last"] or 0
        done = max(position.offset, first)
        while done < last:
            done = max(done, _next_key(done) - 1)  # the gap between two partitions is wide
            upto = min(done + WINDOW_KEYS, last)
            self._look_through(done, upto)
            ReadPosition.objects.filter(pk=position.pk).update(offset=upto, updated_at=Now())
            done = upto
            advance(done - first, last - first)
        position.delete()
        return self.report

    def _look_through(self, after: int, upto: int) -> None:
        rows = RequestLog.objects.filter(pk__gt=after, pk__lte=upto)
        rows = rows.filter(country="", city="", asn=None).window(self._since, None)
        updates = list(self._updates(rows.values_list("pk", "address").iterator()))
        while updates:
            taken, updates = updates[: self._batch], updates[self._batch :]
            begun = time.monotonic()
            self.report.located += _write(taken)
            slow = time.monotonic() - begun > LONGEST_SECONDS
            self._batch = max(self._batch // 2, FEWEST_ROWS) if slow else self._batch

    def _updates(self, rows: Iterator[tuple[int, str]]) -> Iterator[Update]:
        for key, text in rows:
            address = parse_address(text)
            place = ipstorage.place_kept(geo.locate(address))
            if place != geo.NOWHERE:
                yield _update(key, place)
            elif locatable(address) is None:
                self.report.nowhere += 1
            else:
                self.report.unknown += 1


def _next_key(after: int) -> int:
    rows = RequestLog.objects.filter(pk__gt=after).order_by("pk")
    return rows.values_list("pk", flat=True).first() or after + 1


def _update(key: int, place: Place) -> Update:
    return place.country or "", (place.city or "")[:128], place.asn, key


def _write(updates: Sequence[Update]) -> int:
    """Write places in one short transaction; rows that have one meanwhile are left alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        rollups.mark(RequestLog.objects.filter(pk__in=[key for *_, key in updates]))
        cursor.executemany(_SET_PLACE, updates)
        return int(cursor.rowcount)


def _name(databases: Sequence[geo.Database], since: datetime | None) -> str:
    question = repr((databases, since)).encode()
    return f"locate:{hashlib.blake2b(question, digest_size=16).hexdigest()}"


_TABLE = RequestLog._meta.db_table  # noqa: SLF001
_SET_PLACE = (
    f"UPDATE {_TABLE} SET country = %s, city = %s, asn = %s"  # noqa: S608
    " WHERE id = %s AND country = '' AND city = '' AND asn IS NULL"
)
