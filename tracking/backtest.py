"""Backtest: what detectors would find and block with other thresholds, told from the record.

The detectors themselves look at the record once more, one hour after the other, and each finding
is answered as a run would have answered it at once. Only the blocks are others: they stand in a
book of their own, empty at the beginning, and what they would have refused is not looked at again,
as in a run. Nothing is written or sent. Exceptions and reviews are those of today.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from tracking import conf, detection, ipstorage, suspicions
from tracking.detectors.detector import Detector, changed
from tracking.engine.address import IPNetwork, parse_address, parse_network
from tracking.engine.findings import Finding, Mode, Response, Severity, Standing, respond
from tracking.engine.targets import target_of_network
from tracking.evidence import Seen, Span, Tried
from tracking.guards import FEW, Book
from tracking.models import RequestLog, RequestLogQuerySet, SuspiciousIP
from tracking.modes import check_name

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)  # both ends of a Span belong to it
LONGEST = timedelta(days=31)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the clock: how many targets were flagged in it, and how many blocks began.

    `users` are the names of the signed-in users who would have been refused in it.
    """

    start: datetime
    flagged: int
    blocked: int
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """What one detector has found about one target, in all hours together.

    `first` is when the first stretch of requests behind a finding began; `because` says why it
    would not be blocked; `users` are the names of the signed-in users that were seen from it.
    """

    target: str
    detector: str
    severity: Severity
    count: int
    first: datetime
    would_block: bool
    because: str
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backtest:
    """What would have been: hour by hour, and by target in order of time."""

    start: datetime
    end: datetime
    hours: tuple[Hour, ...]
    targets: tuple[Suspect, ...]


def simulate(
    names: Collection[str],
    changes: Mapping[str, Mapping[str, object]],
    start: datetime,
    end: datetime,
    progress: Progress | None = None,
) -> Backtest:
    """Return what these detectors (none named: all that are on) would have found from start to end.

    `changes` are as in TRACKING_DETECTORS, and come on top of what is set now. `start` is included,
    `end` is not. `progress` is called after each hour with how many are done, and of how many.
    Raises ValueError: an unknown detector or threshold, or a time that is too long.
    """
    chosen = _chosen(names, changes)
    if not start < end <= start + LONGEST:
        raise ValueError(f"The time must end after it begins, and last {LONGEST.days} days at most")
    spans = list(_hours(start, end))
    trial = _Trial()
    for done, (first, last) in enumerate(spans, 1):
        trial.look(chosen, first, last)
        if progress is not None:
            progress(done, len(spans))
    return trial.told(start, end, [first for first, _ in spans])


class _Blocks:
    """The blocks that there would be: from when until when, by network."""

    def __init__(self) -> None:
        self._blocks: defaultdict[IPNetwork, list[tuple[datetime, datetime]]] = defaultdict(list)
        self._lengths: set[int] = set()

    def put(self, network: IPNetwork, start: datetime, duration: timedelta) -> None:
        self._blocks[network].append((start, start + duration))
        self._lengths.add(network.prefixlen)

    def holds(self, network: IPNetwork, at: datetime) -> bool:
        """Tell whether whoever comes from this network at this moment would be refused."""
        return any(
            start < at < end
            for length in self._lengths
            if length <= network.prefixlen
            for start, end in self._blocks.get(_wider(network, length), ())
        )

    def since(self, network: IPNetwork, moment: datetime) -> int:
        """How many blocks of this very network began at a moment or later."""
        return sum(start >= moment for start, _ in self._blocks.get(network, ()))


@dataclass(frozen=True)
class _Replay(Span):
    """A span of the record without what these blocks would have refused."""

    blocks: _Blocks = field(default_factory=_Blocks)

    def failed_logins(self, width: timedelta) -> list[Tried]:
        found = super().failed_logins(width)
        return [one for one in found if not self.blocks.holds(_client(one.address), one.at)]

    def _seen(self, rows: RequestLogQuerySet) -> list[Seen]:
        found = super()._seen(rows)
        return [one for one in found if not self.blocks.holds(_network(one.key), one.at)]


class _Trial:
    """The state of a backtest between two hours."""

    def __init__(self) -> None:
        self.blocks = _Blocks()
        self.suspects: dict[tuple[IPNetwork, str], Suspect] = {}
        self.flagged: defaultdict[datetime, set[IPNetwork]] = defaultdict(set)
        self.blocked: defaultdict[datetime, int] = defaultdict(int)
        settled = SuspiciousIP.objects.filter(status__in=suspicions.SETTLED)
        self.settled = set(settled.values_list("target", "detector"))

    def look(self, detectors: Collection[Detector], start: datetime, end: datetime) -> None:
        span = _Replay(start, end - TICK, self.blocks)
        found = [
            (finding, detector)
            for detector in detectors
            for finding in detector.find(span, detector.thresholds)
            if finding.end >= start  # of what is older the hour before has told
        ]
        found.sort(key=lambda pair: pair[0].end)
        for batch in (found[n : n + FEW] for n in range(0, len(found), FEW)):
            targets = [target_of_network(finding.target) for finding, _ in batch]
            book = Book(suspicions.DETECTION, targets, span.end)
            for finding, detector in batch:
                if not self.blocks.holds(finding.target, finding.end + TICK):
                    self._take(finding, detector, start, book)

    def told(self, start: datetime, end: datetime, hours: list[datetime]) -> Backtest:
        refused: defaultdict[datetime, set[str]] = defaultdict(set)
        seen: dict[IPNetwork, tuple[str, ...]] = {}
        for network in {network for network, _ in self.suspects}:
            names = set()
            for name, at in _signed_in(network, start, end):
                names.add(name)
                if self.blocks.holds(network, at):
                    refused[max(start, _clock_hour(at))].add(name)
            seen[network] = tuple(sorted(names))
        suspects = [
            replace(suspect, users=seen[network]) for (network, _), suspect in self.suspects.items()
        ]
        return Backtest(
            start,
            end,
            tuple(
                Hour(at, len(self.flagged[at]), self.blocked[at], tuple(sorted(refused[at])))
                for at in hours
            ),
            tuple(sorted(suspects, key=lambda one: (one.first, one.target, one.detector))),
        )

    def _take(self, finding: Finding, detector: Detector, hour: datetime, book: Book) -> None:
        self.flagged[hour].add(finding.target)
        response = self._answer(finding, detector, book)
        if response.mode is Mode.ENFORCE and response.duration is not None:
            self.blocks.put(finding.target, finding.end, response.duration)
            self.blocked[hour] += 1
        self._remember(finding, response)

    def _answer(self, finding: Finding, detector: Detector, book: Book) -> Response:
        settings, now = conf.current(), finding.end

        def answer(standing: Standing) -> Response:
            return respond(
                finding,
                replace(
                    standing,
                    is_blocked=False,
                    earlier_blocks=self.blocks.since(finding.target, now - settings.block_memory),
                ),
                detector.modes,
                settings.block_durations,
                now,
                counts_only=detector.counts_only,
            )

        response = answer(Standing())
        if response.mode is Mode.OFF:  # whatever else is known of the target
            return response
        row = suspicions.newest_row(finding) if self._is_settled(finding) else None
        return answer(suspicions.standing_of(finding, detector, row, book))

    def _is_settled(self, finding: Finding) -> bool:
        return (target_of_network(finding.target).text, finding.detector) in self.settled

    def _remember(self, finding: Finding, response: Response) -> None:
        blocks = response.mode is Mode.ENFORCE
        because = "" if blocks else response.because or f"its mode is {response.mode}"
        key = (finding.target, finding.detector)
        known = self.suspects.get(key)
        if known is None:
            text = target_of_network(finding.target).text
            known = Suspect(
                text, finding.detector, finding.severity, 0, finding.start, False, because
            )
        self.suspects[key] = replace(
            known,
            severity=max(known.severity, finding.severity, key=lambda one: one.rank),
            count=max(known.count, finding.count),
            would_block=known.would_block or blocks,
            because="" if known.would_block or blocks else because,
        )


def _chosen(
    names: Collection[str], changes: Mapping[str, Mapping[str, object]]
) -> tuple[Detector, ...]:
    for name in (*names, *changes):
        check_name(name)
    for name in changes:
        if names and name not in names:
            raise ValueError(f"{name} is changed, but not among those that are tested")
    wanted = [
        changed(detector, changes.get(detector.name, {}))
        for detector in detection.detectors()
        if not names or detector.name in names
    ]
    return tuple(detector for detector in wanted if names or detector.is_on)


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        last = min(end, _clock_hour(start) + HOUR)
        yield start, last
        start = last


def _clock_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _signed_in(
    network: IPNetwork, start: datetime, end: datetime
) -> Iterator[tuple[str, datetime]]:
    rows = RequestLog.objects.inside(network).window(start, end).exclude(user_pk="").order_by()
    for name, key, at in rows.values_list("username", "user_pk", "at").iterator(10_000):
        yield name or key, at


@lru_cache(maxsize=65_536)
def _network(key: str) -> IPNetwork:
    return parse_network(key)


@lru_cache(maxsize=65_536)
def _wider(network: IPNetwork, length: int) -> IPNetwork:
    return network if length == network.prefixlen else network.supernet(new_prefix=length)


def _client(address: str) -> IPNetwork:
    return ipstorage.client_of(parse_address(address))
