"""What detectors find, and what is to be done about it.

`respond` is the one place where a finding becomes a block, a suggestion or nothing. It is pure:
whatever it has to know of the rest of the world comes in a Standing.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracking.engine.address import IPNetwork, shown

# Why nothing is done about a finding.
ALREADY_BLOCKED = "the target is blocked already"
ALREADY_OBSERVED = "the target is observed already"
TOO_LITTLE = "it takes more for a block"
LONG_PAST = "it is long past"
LATE = timedelta(hours=1)  # for how long after its end a window may still lead to a block

_CHANGE = re.compile(r"([a-z_]+)\.([a-z_]+)=([0-9]{1,12}|[A-Za-z_]+)", re.ASCII)


class Severity(enum.StrEnum):
    """How bad it is, the mildest first."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Mode(enum.StrEnum):
    """What follows from a finding, the least first.

    OFF: nothing, the detector does not even look. OBSERVE: a rule that refuses nobody, and counts
    whom it would have. SUGGEST: a person decides. ENFORCE: a block that expires.
    """

    OFF = "OFF"
    OBSERVE = "OBSERVE"
    SUGGEST = "SUGGEST"
    ENFORCE = "ENFORCE"


Modes = Mapping[Severity, Mode]


def read_change(text: str) -> tuple[str, str, int | str]:
    """Return detector, threshold and value of "flood.requests=200", or of "flood.mode=SUGGEST".

    Whether there are such names, only the detectors know. Raises ValueError.
    """
    written = _CHANGE.fullmatch(text)
    if written is None:
        raise ValueError(f"{shown(text)}: write it like flood.requests=200 or flood.mode=SUGGEST")
    name, threshold, value = written.groups()
    return name, threshold, int(value) if value.isdecimal() else value


@dataclass(frozen=True, slots=True)
class Finding:
    """One detector's answer about one target: an address, or the network that counts as one client.

    `count` exceeded `threshold` in a window from `start` to `end`, both included; `evidence` are
    ids of rows of the request log. With `is_block` off the finding is worth a look, not a block.
    """

    detector: str
    target: IPNetwork
    severity: Severity
    reason: str
    count: int
    threshold: int
    start: datetime
    end: datetime
    evidence: tuple[int, ...] = ()
    is_block: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a target when a finding about it is answered.

    `earlier_blocks` counts its automatic blocks lately; `protected` says why nothing automatic may
    hit it, if so; `is_exempt`: a person has said that this finding is false, or does not matter;
    `is_crawler`: it says openly that it is a robot.
    """

    is_allowed: bool = False
    is_blocked: bool = False
    is_exempt: bool = False
    is_crawler: bool = False
    protected: str = ""
    earlier_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """What is to be done about a finding, for how long, and why not more."""

    mode: Mode
    duration: timedelta | None = None
    because: str = ""


def respond(
    finding: Finding,
    standing: Standing,
    modes: Modes,
    durations: Sequence[timedelta],
    now: datetime,
    *,
    counts_only: bool = False,
) -> Response:
    """Return what is to be done; Mode.OFF is nothing, beyond keeping the finding.

    `durations` are those of the first, second, ... block of the same target. `counts_only` says
    that the detector judges by numbers alone, and may be wrong about a declared crawler.
    """
    mode = modes[finding.severity]
    if standing.is_exempt:
        return Response(Mode.OFF, because="a person has looked at this before")
    if standing.is_allowed:
        return Response(Mode.OFF, because="the target is allowed")
    if standing.is_blocked:
        return Response(Mode.OFF, because=ALREADY_BLOCKED)
    if not finding.is_block:
        return Response(Mode.OFF, because=TOO_LITTLE)
    if now - finding.end > LATE:
        return Response(Mode.OFF, because=LONG_PAST)
    duration = durations[min(standing.earlier_blocks, len(durations) - 1)]
    if mode is Mode.ENFORCE and (standing.protected or (counts_only and standing.is_crawler)):
        because = standing.protected or "it declares itself as a crawler"
        return Response(Mode.SUGGEST, duration, because)
    return Response(mode, duration)


@dataclass(frozen=True, slots=True)
class Peak:
    """The last stretch with too many moments, by the indexes of its first and last one.

    `count` is the most that any stretch holds.
    """

    first: int
    last: int
    count: int


def busiest(
    moments: Sequence[datetime],
    width: timedelta,
    threshold: int,
    kinds: Sequence[str] | None = None,
) -> Peak | None:
    """Return where more than `threshold` of these moments lie in a stretch of at most `width`.

    `moments` are in order. With `kinds`, one for each, different kinds are counted instead.
    None: nowhere.
    """
    peak, first = None, 0
    inside: Counter[str] = Counter()
    for last, moment in enumerate(moments):
        if kinds is not None:
            inside[kinds[last]] += 1
        while moment - moments[first] > width:
            if kinds is not None:
                inside[kinds[first]] -= 1
                if not inside[kinds[first]]:
                    del inside[kinds[first]]
            first += 1
        count = last + 1 - first if kinds is None else len(inside)
        if count > threshold:
            peak = Peak(first, last, max(count, peak.count if peak is not None else 0))
    return peak
