"""What a detector is: a question put to a span of the record, with thresholds to be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NoReturn

from tracking.engine.families import FAMILIES, FamilySeverity
from tracking.engine.findings import Finding, Mode, Modes, Severity
from tracking.evidence import Seen, Span

MOST_EVIDENCE = 20  # rows named in one finding
LARGEST = 10**9
SEVERE = {family.name for family in FAMILIES if family.severity is FamilySeverity.SEVERE}
MILD = {family.name for family in FAMILIES if family.severity is FamilySeverity.MILD}


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector: `thresholds` by name (numbers, times in seconds), and what follows by severity.

    One that `counts_only` judges by numbers alone, and may be wrong about a declared crawler.
    """

    name: str
    description: str
    thresholds: Mapping[str, int]
    modes: Modes
    find: Callable[[Span, Mapping[str, int]], Iterator[Finding]]
    counts_only: bool = False

    @property
    def is_on(self) -> bool:
        return any(mode is not Mode.OFF for mode in self.modes.values())


def in_every_case(mode: Mode) -> Modes:
    """Return the modes that are the same for every severity."""
    return dict.fromkeys(Severity, mode)


def changed(detector: Detector, change: Mapping[str, object]) -> Detector:
    """Return a detector with a change of the settings made to it. Raises ValueError.

    The change maps names of thresholds to numbers, and `mode` to one of OFF, OBSERVE, SUGGEST and
    ENFORCE, or to a mapping of severities to those.
    """
    for name, value in change.items():
        if name == "mode":
            detector = replace(detector, modes=_modes(detector, value))
        elif name not in detector.thresholds:
            names = ", ".join(["mode", *detector.thresholds])
            raise ValueError(f"{detector.name}: {name!a} is none of {names}")
        elif not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise ValueError(f"{detector.name}, {name}: {value!a} is not a number above 0")
        else:
            detector = replace(detector, thresholds={**detector.thresholds, name: value})
    return detector


def evidence_of(seen: Sequence[Seen]) -> tuple[int, ...]:
    """Return the numbers of the newest of these rows."""
    return tuple(one.pk for one in seen[-MOST_EVIDENCE:])


def seconds(thresholds: Mapping[str, int], name: str = "window") -> timedelta:
    return timedelta(seconds=thresholds[name])


def _modes(detector: Detector, value: object) -> Modes:
    try:
        if isinstance(value, Mapping):
            return {**detector.modes, **{Severity(key): Mode(mode) for key, mode in value.items()}}
        return in_every_case(Mode(str(value)))
    except ValueError:
        _refuse(detector, value)


def _refuse(detector: Detector, value: object) -> NoReturn:
    raise ValueError(
        f"{detector.name}, mode: {value!a} is none of {', '.join(Mode)}, and no mapping of"
        f" {', '.join(Severity)} to those"
    ) from None
