"""Where somebody is named in rows that stay, and how they read without him."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracking.datasubject import DataSubject
from tracking.engine.redaction import ERASED, without
from tracking.models import AuditEntry

# Keys of JSON below which a name stands by itself. Anywhere else the same word is none, whatever
# users call themselves: "BLOCK", "203.0.113.7".
NAMED = ("actor", "created_by", "name", "username")


@dataclass(frozen=True, slots=True)
class Mention:
    """Columns in which somebody may be named: names, texts, JSON, and JSON written as text."""

    names: Sequence[str] = ()
    texts: Sequence[str] = ()
    values: Sequence[str] = ()
    documents: Sequence[str] = ()

    def changes(self, subject: DataSubject, row: Any) -> dict[str, Any]:
        """Return the columns that name somebody, as they read without him."""
        keyed = dict.fromkeys(NAMED, subject.redacted_name)
        found: dict[str, Any] = {name: subject.redacted(getattr(row, name)) for name in self.texts}
        for name in self.names:
            found[name] = subject.redacted_name(getattr(row, name))
        for name in self.values:
            found[name] = without(getattr(row, name), subject.redacted, keyed)
        for name in self.documents:
            document = json.loads(getattr(row, name))
            redacted = without(document, subject.redacted, keyed)
            found[name] = getattr(row, name) if redacted == document else json.dumps(redacted)
        return {name: value for name, value in found.items() if value != getattr(row, name)}

    def is_made(self, subject: DataSubject, row: Any) -> bool:
        return bool(self.changes(subject, row))

    def redact(self, subject: DataSubject, rows: Any) -> None:
        for row in rows:
            type(row)._default_manager.filter(pk=row.pk).update(  # noqa: SLF001
                **self.changes(subject, row)
            )


class InEntry(Mention):
    """The same of audit entries: who acted, and from where, besides."""

    def changes(self, subject: DataSubject, row: AuditEntry) -> dict[str, Any]:
        changes = Mention.changes(self, subject, row)
        if _acted(subject, row) and row.actor != ERASED:
            changes |= {"actor": ERASED, "address": None}
        if row.address is not None and subject.redacted(row.address) == ERASED:
            changes["address"] = None
        return changes


def _acted(subject: DataSubject, row: AuditEntry) -> bool:
    """Tell whether a user made a change; what the service did itself has no account's number.

    Of a user without an account there is only the name, whatever number the account had.
    """
    if not row.actor_pk:
        return False
    if subject.pk:
        return row.actor_pk == subject.pk
    return bool(subject.name) and row.actor == subject.name
