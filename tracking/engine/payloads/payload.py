"""What the tables of payloads are written with."""

from __future__ import annotations

from typing import NamedTuple

from tracking.engine.families import Family

# Where a value begins: it tells an injected value from the same words in a sentence.
START = r"(?:^|[=?/&])[ '\"(]{0,4}"
# The name of a value and the sign of equality, unless it is that of a search box, where people
# type what they read about. A header is a value without a name: "=" stands before it.
NAMED = r"(?:^|[?&/](?!(?:q|s|query|search|term|text|keywords?|wd)=)[^=&/? ]{1,64})="


class Payload(NamedTuple):
    """What injected text of a family looks like.

    `literals` are cheap to look for; one of them is in every text that `expression` matches.
    `example` is a request target that carries such text.
    """

    family: Family
    example: str
    literals: tuple[str, ...]
    expression: str
