"""What was decided about a visit."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class VerdictKind(enum.StrEnum):
    """ALLOWED, refused by a rule (BLOCKED) or a limit (LIMITED), or would have been (OBSERVED)."""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    LIMITED = "LIMITED"
    OBSERVED = "OBSERVED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and the limit (by its name) or the rule (by its number) that made it.

    `retry_after` is in seconds.
    """

    kind: VerdictKind
    limit: str = ""
    retry_after: int = 0
    rule: int | None = None

    @property
    def refused(self) -> bool:
        return self.kind in {VerdictKind.BLOCKED, VerdictKind.LIMITED}


ALLOWED = Verdict(VerdictKind.ALLOWED)
