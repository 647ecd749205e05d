"""Carry journal segments into the database, and clear them away.

Any process of a node may read any segment: the read position in the database decides who wins. A
segment is finished once nobody holds its lock and every line is read; it is unlinked only when the
database has made those rows durable, and after a delay.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.db import Error, connection
from django.db.models.functions import Now
from django.utils import timezone

from tracking import conf, journal, recorder
from tracking.engine.visit import Record
from tracking.models import ReadPosition

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
EVERYTHING = 1 << 62
RECORDS_BEFORE_PAUSE = 64  # one or two milliseconds of work
PAUSE_SECONDS = 0.0001

_lost = 0


def drain() -> int:
    """Move every whole line of every segment of this node; return the rows inserted.

    For processes without the background thread. Raises DatabaseError when the database is away.
    """
    return sum(map(drain_segment, journal.segments(conf.current().journal_dir)))


def drain_own() -> int:
    """Move what this process has written; return the rows inserted."""
    own = journal.opened()
    if own is None:
        return 0
    return sum(drain_segment(path) for path in journal.segments(own.directory, own.series))


def adopt() -> int:
    """Move a part of each segment whose owner is gone; return the rows inserted, 0 at the end."""
    own = journal.opened()
    return sum(
        drain_segment(path, CHUNK_BYTES, orphans_only=True)
        for path in journal.segments(conf.current().journal_dir)
        if own is None or own.series not in path.name
    )


def drain_segment(path: Path, most_bytes: int = EVERYTHING, *, orphans_only: bool = False) -> int:
    """Move up to `most_bytes` of one segment; return the rows inserted."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        orphan = journal.lock(fd)
        return _drain(path.name, fd, orphan, most_bytes) if orphan or not orphans_only else 0
    except recorder.Outrun:
        return 0
    finally:
        os.close(fd)


def clear() -> None:
    """Unlink finished segments whose rows are durable, let old ones end, and report losses."""
    if (own := journal.opened()) is not None:
        own.leave_old()
    due = timezone.now() - timedelta(seconds=conf.current().journal_unlink_delay)
    # Only positions of files that are here: a copy of this node may count on those of its own.
    paths = {path.name: path for path in journal.segments(conf.current().journal_dir)}
    done = ReadPosition.objects.filter(name__in=paths, finished_at__lte=due)
    names = list(done.values_list("name", flat=True))
    if names and _durable():
        for name in names:
            paths[name].unlink(missing_ok=True)
        ReadPosition.objects.filter(name__in=names).delete()
    _report_losses()


def bound() -> None:
    """Drop the oldest segments while all together exceed `journal_total_bytes`.

    Works without the database, because a database that is away is what fills the folder.
    """
    directory, limit = conf.current().journal_dir, conf.current().journal_total_bytes
    sizes = {path: _size(path) for path in journal.segments(directory)}
    total = sum(sizes.values())
    for path, size in sizes.items():
        if total <= limit:
            return
        total -= size if _drop(path) else 0


def backlog() -> int:
    """Return how many bytes of journal on this node are not in the database yet."""
    sizes = {path.name: _size(path) for path in journal.segments(conf.current().journal_dir)}
    offsets = dict(ReadPosition.objects.filter(name__in=sizes).values_list("name", "offset"))
    return sum(max(0, size - offsets.get(name, 0)) for name, size in sizes.items())


def _drain(name: str, fd: int, orphan: bool, most_bytes: int) -> int:
    position, made = ReadPosition.objects.get_or_create(name=name)
    if not os.fstat(fd).st_nlink:
        # Cleared away since it was opened, and its position after it: nothing is left to move.
        if made:
            position.delete()
        return 0
    if position.finished_at is not None:
        return 0
    inserted, until = 0, position.offset + most_bytes
    while position.offset < until:
        chunk = _whole_lines(os.pread(fd, CHUNK_BYTES, position.offset), orphan)
        if not chunk:
            if orphan:
                ReadPosition.objects.filter(pk=position.pk).update(finished_at=Now())
            break
        lines = list(journal.read(chunk))
        records = [record for record in lines if record is not None]
        end = position.offset + len(chunk)
        damaged = len(lines) - len(records)
        inserted += recorder.advance(position, end, _unhurried(records), damaged)
    return inserted


def _unhurried(records: list[Record]) -> Iterator[Record]:
    """Yield records, letting request threads in between: a busy one keeps them out for 5 ms."""
    for number, record in enumerate(records, 1):
        if number % RECORDS_BEFORE_PAUSE == 0:
            time.sleep(PAUSE_SECONDS)
        yield record


def _whole_lines(chunk: bytes, orphan: bool) -> bytes:
    """Cut a chunk behind its last line end; the rest of an orphan will never be completed."""
    whole = chunk[: chunk.rfind(b"\n") + 1]
    return whole or (chunk if orphan or len(chunk) == CHUNK_BYTES else b"")


def _drop(path: Path) -> bool:
    global _lost
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not journal.lock(fd):
            return False  # somebody writes to it: what is written next would vanish unseen
        lines = journal.count_lines(path, _offset(path.name))
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    if lines:
        _lost += lines
        logger.error("%s was dropped with %d records: the journal exceeds its bound", path, lines)
    return True


def _offset(name: str) -> int:
    try:
        return ReadPosition.objects.values_list("offset", flat=True).get(name=name)
    except (ReadPosition.DoesNotExist, Error):
        return 0


def _report_losses() -> None:
    global _lost
    own = journal.opened()
    if own is not None:
        _lost += own.take_dropped()
    if _lost:
        recorder.count(recorder.DROPPED, _lost)
        _lost = 0


def _durable() -> bool:
    """Tell whether all that is committed survives a power cut.

    SQLite in WAL mode with synchronous=NORMAL writes through at checkpoints only.
    """
    if connection.vendor != "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        busy, frames, moved = cursor.fetchone()
    return not busy and frames == moved


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
