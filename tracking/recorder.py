"""Turn records into rows and move them into the database, in batches, each exactly once.

The rows of a batch and the new read position are committed in one transaction, and the position
moves only from where this reader found it: of two readers one wins, and a crash repeats nothing.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Greatest, Now

from tracking import conf, geo, ipstorage, partitions, tally
from tracking.engine import signatures
from tracking.engine.address import IPAddress, parse_address
from tracking.engine.place import Place
from tracking.engine.pseudonym import FULL
from tracking.engine.sensitive import sensitive_tags
from tracking.engine.text import escaped, normal_path, path_as_sent, printable
from tracking.engine.verdict import VerdictKind
from tracking.engine.visit import Record
from tracking.fields import joined, sortable
from tracking.models import BATCH, RULES_VERSION, AccessRule, Counter, ReadPosition, RequestLog
from tracking.visits import FROM_A_PAGE

logger = logging.getLogger(__name__)

COLUMNS = (
    "at", "address", "counting_key", "method", "host", "path", "normal_path", "query", "status",
    "duration_ms", "user_pk", "username", "user_agent", "referer", "request_id", "operations",
    "country", "city", "asn", "verdict", "tags", "source", "limit", "rule_id",
)  # fmt: skip

LONGEST_CACHED = 256  # characters of a path: long ones do not come again, and would fill the memory

DAMAGED = "journal.damaged"
DROPPED = "journal.dropped"

Row = tuple[Any, ...]


class Outrun(Exception):
    """Another reader moved this position first; its rows are the ones that count."""


def advance(
    position: ReadPosition, offset: int, records: Iterable[Record], damaged: int = 0
) -> int:
    """Insert records and move a position to `offset`, both or neither; return the rows inserted.

    `damaged` lines that could not be read are counted in the same transaction. Raises Outrun when
    another reader was faster, and DatabaseError when the database is away.
    """
    rows = [row(record) for record in records]
    try:
        refused = _commit(position, offset, rows, damaged, insert)
    except (DataError, IntegrityError):
        partitions.make_ahead()  # or rows would be refused only because there is no room for them
        # One row that the database refuses must not hold up all that stand behind it.
        refused = _commit(position, offset, rows, damaged, _insert_each)
    position.offset = offset
    tally.notice((one[2], bool(one[20])) for one in rows if one[19] != VerdictKind.BLOCKED)
    return len(rows) - refused


def protected(record: Record) -> Record:
    """Return a record as it may leave the process: its address as TRACKING_IP_STORAGE says.

    The place is looked up here, while that can be done. What comes from another server's log, or
    from a journal older than the setting, is protected on its way into the table.
    """
    storage = conf.current().ip_storage
    if storage == FULL or record.storage != FULL:
        return record
    address = parse_address(record.address)
    place = geo.locate(address)
    kept = str(ipstorage.stored(address))
    return record._replace(
        address=kept, storage=storage, country=place.country or "", asn=place.asn
    )


def row(record: Record) -> Row:
    """Return what the table keeps of a record, in the order of COLUMNS: escaped, placed, cut."""
    record = protected(record)
    address, key = _identity(record.address, conf.current().ip_storage, conf.current().ipv6_prefix)
    place = Place(record.country, None, record.asn)
    if record.storage == FULL:
        place = geo.locate(address)
    short = len(record.path) <= LONGEST_CACHED
    path, matched = _paths_cached(record.path) if short else _paths(record.path)
    return (
        record.at,
        record.address,
        key,
        escaped(record.method, 32),
        escaped(record.host, 255),
        path,
        matched,
        escaped(record.query, 2048) if conf.current().log_query_string else "",
        record.status,
        record.duration_ms,
        record.user_pk[:64],
        printable(record.username, 255),
        escaped(record.user_agent, 512),
        escaped(record.referer, 1024),
        record.request_id,
        joined(record.operations.split()),
        place.country or "",
        (place.city or "")[:128],
        place.asn,
        record.verdict,
        joined(_tags(record, matched)),
        record.source,
        record.limit,
        record.rule,
    )


def insert(rows: Sequence[Row]) -> int:
    """Insert rows by the fastest way the database has; 0, the number of rows left out."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Django wraps the errors of its own methods only, and COPY is psycopg's.
            with connection.wrap_database_errors, cursor.copy(_COPY) as copy:
                for at, *rest in rows:
                    copy.write_row((f"{at}+00:00", *rest))
        else:
            cursor.executemany(_INSERT, [(at, sortable(ip), *rest) for at, ip, *rest in rows])
    return 0


def count(name: str, number: int = 1) -> None:
    """Add to a named counter and stamp it with the time."""
    Counter.objects.get_or_create(name=name)
    Counter.objects.filter(name=name).update(value=F("value") + number, updated_at=Now())


def _commit(
    position: ReadPosition,
    offset: int,
    rows: Sequence[Row],
    damaged: int,
    put: Callable[[Sequence[Row]], int],
) -> int:
    with transaction.atomic():
        found = ReadPosition.objects.filter(pk=position.pk, offset=position.offset)
        if not found.update(offset=offset, tail=position.tail, updated_at=Now()):
            raise Outrun(position.name)
        if rows:
            count(BATCH)  # locks out other readers: rows are numbered in the order they commit
        refused = put(rows) if rows else 0
        _count_hits(rows)
        if damaged or refused:
            count(DAMAGED, damaged + refused)
    return refused


def _count_hits(rows: Sequence[Row]) -> None:
    """Add to each rule the requests it decided: counted once, since they commit with their rows."""
    hits = collections.Counter(row[-1] for row in rows if row[-1] is not None)
    if not hits:
        return
    # Whoever changes rules locks the book first, and rules in whatever order: to do it likewise
    # keeps us and him from waiting for each other.
    Counter.objects.select_for_update().filter(name=RULES_VERSION).first()
    newest = {row[-1]: row[0] for row in sorted(rows, key=itemgetter(0))}
    for number in sorted(hits):
        last = Value(datetime.fromisoformat(newest[number]).replace(tzinfo=UTC))
        AccessRule.objects.filter(pk=number).update(
            hits=F("hits") + hits[number], last_hit_at=Greatest(Coalesce("last_hit_at", last), last)
        )


def _insert_each(rows: Sequence[Row]) -> int:
    refused = 0
    for one in rows:
        try:
            with transaction.atomic():
                insert([one])
        except (DataError, IntegrityError) as error:
            refused += 1
            logger.error("The database refuses the record of request %s: %s", one[14], error)
    return refused


def _tags(record: Record, path: str) -> list[str]:
    """Return the tags a record has, and those that its path, query and headers earn it."""
    configuration = conf.current()
    found = sensitive_tags(
        path,
        record.operations.split(),
        configuration.sensitive_paths,
        configuration.sensitive_fields,
    )
    if configuration.signatures:
        found += signatures.tags(
            method=record.method,
            path=record.path,
            query=record.query,
            user_agent=record.user_agent,
            referer="" if _is_own_page(record.referer, record.host) else record.referer,
            status=record.status,
        )
    # Most requests come from a page: that is worth a tag only beside others.
    return [tag for tag in record.tags.split() if found or tag != FROM_A_PAGE] + found


def _is_own_page(referer: str, host: str) -> bool:
    """Tell whether a referer is of this host: a page that lists attacks is that of its pictures."""
    return bool(host) and referer.partition("://")[2].startswith(f"{host}/")


@lru_cache(maxsize=8192)
def _identity(text: str, _storage: str, _ipv6_prefix: int) -> tuple[IPAddress, str]:
    """Return an address and what is counted, remembered for these settings."""
    address = parse_address(text)
    return address, ipstorage.key_of(address)


def _paths(raw: str) -> tuple[str, str]:
    path = path_as_sent(raw)
    return path, normal_path(path)


_paths_cached = lru_cache(maxsize=8192)(_paths)


_TABLE = RequestLog._meta.db_table  # noqa: SLF001
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_COPY = f"COPY {_TABLE} ({_NAMES}) FROM STDIN"
_INSERT = f"INSERT INTO {_TABLE} ({_NAMES}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"  # noqa: S608
