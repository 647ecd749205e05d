"""Bring other servers' logs into the record, each line once.

A log is known by its beginning, not by its name: a rotated, renamed or compressed copy goes on
where the last run stopped. Rows and position are committed together, as with the journal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tracking import conf, recorder
from tracking.engine.accesslog import LineError, parse_line
from tracking.engine.jsonlog import parse_json_line
from tracking.engine.visit import Record
from tracking.loglines import HEAD_BYTES, LONGEST_LINE, Line, LogError, Readable, lines, opened
from tracking.models import ReadPosition

__all__ = ["Ingest", "LogError", "Summary"]

BATCH_LINES = 5000
MOST_ADDRESSES = 100_000  # that are counted at once; beyond it the rare ones are forgotten


@dataclass
class Summary:
    """What a run did: rows recorded, lines it could not read, lines known before.

    Times are of the rows recorded, as Record.at has them. `addresses` are exact until there are
    more than MOST_ADDRESSES; then (`about`) those that came rarely may miss some requests.
    """

    rows: int = 0
    bad: int = 0
    known: int = 0
    unfinished: bool = False
    first: str = ""
    last: str = ""
    addresses: Counter[str] = field(default_factory=Counter)
    about: bool = False

    def note(self, records: list[Record]) -> None:
        """Take the times and addresses of records that are now rows."""
        if not records:
            return
        times = [record.at for record in records]
        self.first = min(times + [self.first] * bool(self.first))
        self.last = max(*times, self.last)
        self._count(Counter(record.address for record in records))

    def add(self, other: Summary) -> None:
        """Take in what another run did."""
        self.rows += other.rows
        self.bad += other.bad
        self.known += other.known
        self.unfinished |= other.unfinished
        self.first = min(filter(None, (self.first, other.first)), default="")
        self.last = max(self.last, other.last)
        self.about |= other.about
        self._count(other.addresses)

    def _count(self, addresses: Counter[str]) -> None:
        self.addresses.update(addresses)
        if len(self.addresses) > MOST_ADDRESSES:
            self.addresses = Counter(dict(self.addresses.most_common(MOST_ADDRESSES // 2)))
            self.about = True


class Ingest:
    """One run over one log; lines of JSON may have a field map (engine.jsonlog)."""

    def __init__(
        self,
        source: str,
        *,
        on_bad: Callable[[int, str], None],
        strict: bool = False,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.on_bad = on_bad
        self.strict = strict
        self.fields = fields
        self.summary = Summary()
        self._batch: list[Record] = []
        self._position: ReadPosition | None = None
        self._last: Line | None = None
        self._head = b""
        self._quotes_at_end = False

    def run(self, stream: Readable, *, live: bool = False) -> Summary:
        """Record every line that is not on record yet, plain or gzip.

        Raises LogError for damaged compressed data, for a log that is no longer what was read
        before and, when strict, for a bad line; recorder.Outrun when another run reads the same
        log; DatabaseError. All that was recorded until then stays, and the next run goes on
        behind it.
        """
        head, chunks = opened(stream, live=live)
        if head:
            self._position = _position(head)
            self._record(self._position, self._seen(chunks))
        return self.summary

    def flush(self) -> None:
        """Record what was read and is not on record yet."""
        position, last = self._position, self._last
        if position is None or last is None or last.end <= position.offset:
            return
        if not self._batch and not position.offset:
            return  # no line could be read; another field map may read them all
        if _head_bytes(position) < len(self._head):
            _rename(position, self._head)
        position.tail = _tail(last, last.end)
        self.summary.rows += recorder.advance(position, last.end, self._batch)
        self.summary.note(self._batch)
        self._batch = []

    def _record(self, position: ReadPosition, chunks: Iterator[bytes]) -> None:
        known = position.offset
        try:
            for line in lines(chunks):
                if line.start < known:
                    self._pass_over(line, position)
                    continue
                if not self._take(line, position.name):
                    break
                self._last = line
                if len(self._batch) >= BATCH_LINES:
                    self.flush()
        except LogError:
            self.flush()
            raise
        self.flush()

    def _seen(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Keep the beginning of the log, of which a live one may have had a line only."""
        for chunk in chunks:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
            yield chunk

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
        record = self._read(line.text.decode("latin-1"))
        return record._replace(request_id=_digest(f"{log} {line.start}".encode()))

    def _read(self, text: str) -> Record:
        configuration = conf.current()
        keep, names = configuration.keeps_query, configuration.redacted_names
        if self.fields or text.lstrip().startswith("{"):
            return parse_json_line(
                text, self.source, self.fields, keep_query=keep, secret_names=names
            )
        return parse_line(text, self.source, keep_query=keep, secret_names=names)


def _position(head: bytes) -> ReadPosition:
    """Return how far the log that begins like this was read; it may have been shorter then."""
    known = ReadPosition.objects.filter(name__startswith="log:")
    for position in sorted(known, key=_head_bytes, reverse=True):
        length = _head_bytes(position)
        if length <= len(head) and position.name == _name(head[:length]):
            if length < len(head):
                _rename(position, head)
            return position
    return ReadPosition.objects.get_or_create(name=_name(head))[0]


def _rename(position: ReadPosition, head: bytes) -> None:
    """Keep more of the beginning of a log: the more is known of it, the surer it is this one."""
    position.name = _name(head)
    position.save(update_fields=["name"])


def _head_bytes(position: ReadPosition) -> int:
    return int(position.name.split(":")[1])


def _tail(line: Line, offset: int) -> str:
    """Return what tells that the bytes before `offset` are still this line."""
    return _digest((line.text or b"")[: offset - line.start])


def _name(head: bytes) -> str:
    return f"log:{len(head)}:{_digest(head)}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
