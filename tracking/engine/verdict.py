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
    """A decision; what decided, and when to try again, are added with rules and limits."""

    kind: VerdictKind


ALLOWED = Verdict(VerdictKind.ALLOWED)
