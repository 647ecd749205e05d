"""One spelling for inputs that ask the same."""

from __future__ import annotations

import enum
import json
from dataclasses import fields, is_dataclass
from datetime import datetime

import strawberry

from schema.scalars import written_time


def canonical(asked: object) -> str:
    """Return a text that equals another only if both inputs ask the same.

    What is left out or null asks nothing; in lists neither order nor repetition counts. Inputs may
    ask the same and differ, too, as when one nests in AND what another says itself.
    """
    return json.dumps(_plain(asked), sort_keys=True)


def _plain(asked: object) -> object:
    if is_dataclass(asked):
        given = ((field.name, getattr(asked, field.name)) for field in fields(asked))
        return {name: _plain(value) for name, value in given if not _is_nothing(value)}
    if isinstance(asked, list):
        return sorted({canonical(each) for each in asked})
    if isinstance(asked, enum.Enum):
        return asked.name
    if isinstance(asked, datetime):
        return written_time(asked)
    return None if _is_nothing(asked) else asked


def _is_nothing(value: object) -> bool:
    return value is None or value is strawberry.UNSET
