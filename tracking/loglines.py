"""The lines of a log, plain or gzip, with where each begins and ends."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol, cast

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


def opened(stream: Readable, *, live: bool = False) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning of a log, unpacked, and the whole of it in chunks.

    Of a live one the beginning is what there is, a line at least. Raises LogError.
    """
    head, chunks = _begun(stream, live=live)
    if live and head.startswith(GZIP_MAGIC):
        raise LogError("is compressed, so nobody writes to it; read it without --follow")
    if head.startswith(GZIP_MAGIC):
        return _begun(gzip.GzipFile(fileobj=cast("BinaryIO", _Chunks(chunks))))
    return head, chunks


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


def _begun(stream: Readable, *, live: bool = False) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning of a stream, and the whole of it in chunks."""
    head = b""
    while len(head) < HEAD_BYTES and not (live and b"\n" in head):
        more = _read(stream, HEAD_BYTES - len(head))
        if not more:
            break
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


def lines(chunks: Iterator[bytes]) -> Iterator[Line]:
    """Yield every line, of overlong ones only where they stand."""
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
