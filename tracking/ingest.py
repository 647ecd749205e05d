"""Bring other servers' logs into the record, each line once.

A log is known by its beginning, not by its name: a rotated, renamed or compressed copy goes on
where the last run stopped. Rows and position are committed together, as with the journal.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol, cast

from tracking import conf, recorder
from tracking.engine.accesslog import LineError, parse_line
from tracking.engine.visit import Record
from tracking.models import ReadPosition

BATCH_LINES = 5000
CHUNK_BYTES = 1024 * 1024
LONGEST_LINE = 64 * 1024
HEAD_BYTES = 4096
GZIP_MAGIC = b"\x1f\x8b"


class LogError(Exception):
    """The log cannot be read further; what stands before that point is recorded."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Line(NamedTuple):
    """A line of a log: its number from 1, where it begins and ends in bytes, and its text.

    A line longer than LONGEST_LINE has no text. `whole` is False for a last line without an end.
    """

    number: int
    start: int
    end: int
    text: bytes | None
    whole: bool = True


@dataclass
class Summary:
    """What a run did with a log: rows recorded, lines it could not read, lines known before."""

    rows: int = 0
    bad: int = 0
    known: int = 0
    unfinished: bool = False


class Ingest:
    """One run over one log."""

    def __init__(
        self, source: str, *, on_bad: Callable[[int, str], None], strict: bool = False
    ) -> None:
        self.source = source
        self.on_bad = on_bad
        self.strict = strict
        self.summary = Summary()
        self._batch: list[Record] = []
        self._quotes_at_end = False

    def run(self, stream: Readable) -> Summary:
        """Record every line that is not on record yet, plain or gzip.

        Raises LogError for damaged compressed data, for a log that is no longer what was read
        before and, when strict, for a bad line; recorder.Outrun when another run reads the same
        log; DatabaseError. All that was recorded until then stays, and the next run goes on
        behind it.
        """
        head, chunks = _begun(stream)
        if head.startswith(GZIP_MAGIC):
            head, chunks = _begun(gzip.GzipFile(fileobj=cast("BinaryIO", _Chunks(chunks))))
        if head:
            self._record(_position(head), chunks)
        return self.summary

    def _record(self, position: ReadPosition, chunks: Iterator[bytes]) -> None:
        known, last = position.offset, None
        try:
            for line in _lines(chunks):
                if line.start < known:
                    self._pass_over(line, position)
                    continue
                if not self._take(line, position.name):
                    break
                last = line
                if len(self._batch) >= BATCH_LINES:
                    self._flush(position, last)
        except LogError:
            self._flush(position, last)
            raise
        self._flush(position, last)

    def _pass_over(self, line: Line, position: ReadPosition) -> None:
        """Count a line that is on record; the last of them must still be what it was."""
        self.summary.known += 1
        if line.end < position.offset:
            return
        if _tail(line, position.offset) != position.tail:
            raise LogError(
                f"begins like a log that was read up to byte {position.offset}, but has changed"
                " before that byte; read each log by itself, not several joined into one"
            )
        self._quotes_at_end = (line.text or b"").rstrip().endswith(b'"')

    def _take(self, line: Line, log: str) -> bool:
        """Put a line into the batch; False when it is the unfinished end of a log."""
        if line.text is not None and not line.text.strip():
            return True
        try:
            record = self._parsed(line, log)
        except LineError as error:
            if not line.whole:
                self.summary.unfinished = True
                return False
            if self.strict:
                raise LogError(f"line {line.number}: {error}") from None
            self.summary.bad += 1
            self.on_bad(line.number, str(error))
        else:
            self._batch.append(record)
        return True

    def _parsed(self, line: Line, log: str) -> Record:
        if line.text is None:
            raise LineError(f"longer than {LONGEST_LINE} bytes")
        # A line of the combined format that is still being written may look like a common one.
        quote_at_end = line.text.rstrip().endswith(b'"')
        if not line.whole and self._quotes_at_end and not quote_at_end:
            raise LineError("still being written")
        self._quotes_at_end = self._quotes_at_end or quote_at_end
        configuration = conf.current()
        record = parse_line(
            line.text.decode("latin-1"),
            self.source,
            keep_query=configuration.keeps_query,
            secret_names=configuration.redacted_names,
        )
        return record._replace(request_id=_digest(f"{log} {line.start}".encode()))

    def _flush(self, position: ReadPosition, last: Line | None) -> None:
        if last is not None and last.end > position.offset:
            position.tail = _tail(last, last.end)
            self.summary.rows += recorder.advance(position, last.end, self._batch)
        self._batch = []


class _Chunks:
    """Chunks as a file that gzip can read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _begun(stream: Readable) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning of a stream, and the whole of it in chunks."""
    head = b""
    while len(head) < HEAD_BYTES and (more := _read(stream, HEAD_BYTES - len(head))):
        head += more
    return head, _chunks(head, stream)


def _chunks(head: bytes, stream: Readable) -> Iterator[bytes]:
    chunk = head
    while chunk:
        yield chunk
        chunk = _read(stream, CHUNK_BYTES)


def _read(stream: Readable, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error) as error:
        raise LogError(f"the compressed data is damaged ({error})") from None
    except OSError as error:
        raise LogError(str(error)) from None


def _lines(chunks: Iterator[bytes]) -> Iterator[Line]:
    number = start = 0
    rest, dropped = b"", 0
    for chunk in chunks:
        *texts, rest = (rest + chunk).split(b"\n")
        for text in texts:
            number += 1
            end = start + dropped + len(text) + 1
            yield Line(number, start, end, None if dropped or len(text) > LONGEST_LINE else text)
            start, dropped = end, 0
        if dropped or len(rest) > LONGEST_LINE:  # keep counting, not the text
            dropped, rest = dropped + len(rest), b""
    if rest or dropped:
        yield Line(
            number + 1,
            start,
            start + dropped + len(rest),
            rest if not dropped else None,
            whole=False,
        )


def _position(head: bytes) -> ReadPosition:
    """Return how far the log that begins like this was read; it may have been shorter then."""
    known = ReadPosition.objects.filter(name__startswith="log:")
    for position in sorted(known, key=_head_bytes, reverse=True):
        length = _head_bytes(position)
        if length <= len(head) and position.name == _name(head[:length]):
            if length < len(head):  # the more is known of its beginning, the surer it is this log
                position.name = _name(head)
                position.save(update_fields=["name"])
            return position
    return ReadPosition.objects.get_or_create(name=_name(head))[0]


def _head_bytes(position: ReadPosition) -> int:
    return int(position.name.split(":")[1])


def _tail(line: Line, offset: int) -> str:
    """Return what tells that the bytes before `offset` are still this line."""
    return _digest((line.text or b"")[: offset - line.start])


def _name(head: bytes) -> str:
    return f"log:{len(head)}:{_digest(head)}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
