"""Which media type an answer has: what the Accept header prefers of what is offered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

from django.http.request import MediaType

MOST_RANGES = 32  # browsers send about eight


@lru_cache(maxsize=256)
def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """Return the offered type with the highest quality, None where none is acceptable.

    At the same quality a type that is named wins over a wildcard, then the one named first, then
    the one offered first. Parameters other than q are ignored: every answer is UTF-8.
    https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
    """
    ranges = list(read(accept.lower().split(",")[:MOST_RANGES]))
    best: tuple[float, int, int] = (0.0, 0, 0)
    chosen = None
    for media_type in offered:
        rank = max(
            (
                (precision, each.quality, -position)
                for position, each in enumerate(ranges)
                if (precision := match(each, media_type))
            ),
            default=(0, 0.0, 0),
        )
        standing = (rank[1], rank[0], rank[2])
        if rank[1] > 0 and standing > best:
            best, chosen = standing, media_type
    return chosen


def read(texts: Sequence[str]) -> Iterator[MediaType]:
    """Yield the ranges that can be read; one with a parameter in no known encoding cannot."""
    for text in texts:
        if text.strip():
            with suppress(ValueError):
                yield MediaType(text)


def match(media_range: MediaType, media_type: str) -> int:
    """Return how precisely a range names a type: 3 as itself, 2 by its kind, 1 by */*, else 0."""
    kind, _, _ = media_type.partition("/")
    name = f"{media_range.main_type}/{media_range.sub_type}"
    return {media_type: 3, f"{kind}/*": 2, "*/*": 1}.get(name, 0)
