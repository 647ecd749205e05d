"""What becomes of each rule that matches a visit, told in the order of precedence."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

from tracking.engine.rules import Rule
from tracking.engine.visit import Visit


class Effect(enum.StrEnum):
    """What becomes of a rule that matches the client."""

    DECIDES = "DECIDES"
    OUTRANKED = "OUTRANKED"
    OBSERVED = "OBSERVED"
    EXPIRED = "EXPIRED"
    OTHER_PATH = "OTHER_PATH"
    OTHER_METHOD = "OTHER_METHOD"


def walk(matching: Iterable[Rule], visit: Visit) -> Iterator[tuple[Rule, Effect, Rule | None]]:
    """Yield what becomes of each of the rules that match, and the rule that outranks it."""
    decided: Rule | None = None
    observed: Rule | None = None
    for rule in matching:
        if not rule.is_live(visit.at):
            yield rule, Effect.EXPIRED, None
        elif not visit.path_info.startswith(rule.path):
            yield rule, Effect.OTHER_PATH, None
        elif not rule.is_about(visit.path_info, visit.method):
            yield rule, Effect.OTHER_METHOD, None
        elif decided is not None or (rule.observed and observed is not None):
            yield rule, Effect.OUTRANKED, decided or observed
        elif rule.observed:
            observed = rule
            yield rule, Effect.OBSERVED, None
        else:
            decided = rule
            yield rule, Effect.DECIDES, None
