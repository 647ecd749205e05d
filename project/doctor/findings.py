"""What is found when one thing is looked at."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import DatabaseError, connections


class Level(enum.StrEnum):
    """How bad it is: nothing to do, worth a look, or something does not work."""

    OK = "OK"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and what to do about it."""

    level: Level
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the service, how it is looked at, and what to do when that itself fails.

    `needs_database`: nothing can be said about it while the database does not answer.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    needs_database: bool = False
    remedy: str = "Mend what the sentence names, and ask the doctor again."


def ok(message: str) -> Finding:
    return Finding(Level.OK, message)


def warning(message: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, message, remedy)


def error(message: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, message, remedy)


def looked_at(section: Section, patience: float) -> list[Finding]:
    """Look at a section for at most `patience` seconds; never raises.

    What hangs (a server that was stopped, a disk that is away) is left behind in its thread.
    """
    found: list[Finding] = []
    thread = threading.Thread(target=_look, args=(section, found), daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        return [*found, error(f"No answer came within {patience:g} s.", section.remedy)]
    return found


def _look(section: Section, found: list[Finding]) -> None:
    try:
        found.extend(section.look())
    except Exception as failure:  # noqa: BLE001 - the doctor outlives whatever is ill
        found.append(error(said(failure), section.remedy))
    finally:
        connections.close_all()


def said(failure: Exception) -> str:
    """Return an error's own sentence, on one line."""
    kind = "The database fails" if isinstance(failure, DatabaseError) else type(failure).__name__
    return f"{kind}: {' '.join(str(failure).split()) or 'no reason given'}"
