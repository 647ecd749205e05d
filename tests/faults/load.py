"""What a fault does to a deployment under load, as its clients and its record saw it."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.deployment import ROOT
from tests.faults.deployment import Deployment, wait_until

KINDS = "page=6,blocked=2,graphql=3,limited=1,database=2,statistics=1"
PROTECTED = {"page", "blocked", "graphql", "limited"}  # what needs no database to be answered
PAUSE = 0.02  # seconds; the machine must have time for what is tested
WARM_UP, AFTERMATH = 2.0, 2.0  # seconds of load before a fault, and after it is over
GRACE = 1.0  # seconds after a fault in which an answer may be a failure
LONGEST_RECOVERY = 5.0  # seconds after a fault is mended


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of the load; a status of 0 is none. Times are on the monotonic clock."""

    kind: str
    sent: float
    got: float
    status: int
    expected: bool
    request_id: str


@dataclass(frozen=True)
class Load:
    """A running client; its answers can be read once it has ended."""

    process: subprocess.Popen[bytes]
    file: Path

    def answers(self) -> list[Answer]:
        found = []
        for line in self.file.read_text().splitlines():
            kind, sent, got, status, expected, request_id = line.split()
            times = float(sent), float(got)
            found.append(Answer(kind, *times, int(status), expected == "1", request_id))
        return found

    def end(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def load(deployment: Deployment, kinds: str, pause: float) -> Iterator[Load]:
    """Ask the deployment from another process as long as the block runs."""
    file = deployment.state / "answers"
    arguments = (str(deployment.port), kinds, str(pause), deployment.token, str(file))
    command = [sys.executable, "-m", "tests.faults.client", *arguments]
    running = Load(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE), file)
    try:
        yield running
    finally:
        running.end()


@dataclass(frozen=True)
class Fault:
    """How to break a deployment, how long that lasts in seconds, and how to mend it.

    `is_over` tells when all works again, with nobody's help.
    """

    make: Callable[[Deployment], object]
    lasts: float = 0.0
    mend: Callable[[Deployment], object] = lambda deployment: None
    is_over: Callable[[Deployment], bool] = Deployment.works


@dataclass(frozen=True)
class Outcome:
    """What a fault did; times in seconds."""

    acknowledged: int
    lost: Sequence[str]
    doubled: Sequence[str]
    surplus: int
    late: Sequence[Answer]
    let_in: int
    within_limit: int
    needed_database: int
    unanswered: float
    longest: float
    recovery: float
    slowness: float
    failures: int
    p99: float
    per_second: float

    def row(self) -> str:
        """Return this as the cells of a table."""
        cells = (
            f"{self.acknowledged:,}",
            f"{len(self.lost)}",
            f"{len(self.doubled)}",
            f"{len(self.late)}",
            f"{self.unanswered:.1f}",
            f"{self.longest:.2f}",
            f"{self.p99 * 1000:.0f}",
            f"{self.needed_database}",
            f"{self.recovery:.1f}",
            f"{self.slowness:.1f}",
        )
        return " | ".join(cells)


@dataclass
class Trial:
    """One fault under load."""

    deployment: Deployment
    answers: list[Answer] = field(default_factory=list)
    made: float = 0.0
    mended: float = 0.0
    recovery: float = 0.0
    slowness: float = 1.0
    first_row: int = 0

    def run(self, fault: Fault, kinds: str = KINDS, pause: float = PAUSE) -> Outcome:
        """Make and mend a fault while clients ask, and tell what it did."""
        wait_until(self.deployment.works, "getting ready")
        self.first_row = self.deployment.newest_row()
        with load(self.deployment, kinds, pause) as running:
            time.sleep(WARM_UP / 2)
            self.slowness = slowness(WARM_UP / 2)
            self.made = time.monotonic()
            fault.make(self.deployment)
            time.sleep(max(0.0, fault.lasts - (time.monotonic() - self.made)))
            fault.mend(self.deployment)
            self.mended = time.monotonic()
            wait_until(lambda: fault.is_over(self.deployment), "the recovery")
            self.recovery = time.monotonic() - self.mended
            time.sleep(AFTERMATH)
        self.answers = running.answers()
        return self.outcome()

    def outcome(self) -> Outcome:
        ids = Counter(each.request_id for each in self.answers if each.status)
        rows = self.rows_of(set(ids))
        answered = [each for each in self.answers if each.status]
        protected = [each for each in answered if each.kind in PROTECTED]
        return Outcome(
            acknowledged=len(ids),
            lost=sorted(ids.keys() - rows.keys()),
            doubled=sorted(number for number, count in rows.items() if count > 1),
            surplus=len(rows.keys() - ids.keys() - self.deployment.asked),
            late=[each for each in protected if self.is_late_failure(each)],
            let_in=sum(each.kind == "blocked" and each.status == 404 for each in protected),
            within_limit=sum(each.kind == "limited" and each.status == 200 for each in protected),
            needed_database=sum(
                each.kind not in PROTECTED and not each.expected for each in self.answers
            ),
            unanswered=self.longest_silence(),
            longest=max(each.got - each.sent for each in protected),
            recovery=self.recovery,
            slowness=self.slowness,
            failures=sum(each.status >= 500 for each in self.answers),
            p99=statistics.quantiles((each.got - each.sent for each in answered), n=100)[98],
            per_second=len(answered) / (answered[-1].got - answered[0].sent),
        )

    def rows_of(self, acknowledged: set[str], seconds: float = 15.0) -> Counter[str]:
        """Return the rows of this trial once all are there, or it is no use to wait longer."""
        end = time.monotonic() + seconds
        rows = self.deployment.rows(self.first_row)
        while time.monotonic() < end and not acknowledged <= rows.keys():
            time.sleep(0.5)
            rows = self.deployment.rows(self.first_row)
        time.sleep(0.5)  # a second row of one request would come with the next batches
        return self.deployment.rows(self.first_row)

    def is_late_failure(self, answer: Answer) -> bool:
        return not answer.expected and answer.got > self.made + GRACE

    def longest_silence(self) -> float:
        """Return the longest time in which nobody got an answer to what needs no database."""
        times = sorted(each.got for each in self.answers if each.status and each.kind in PROTECTED)
        return max((after - before for before, after in itertools.pairwise(times)))


def slowness(seconds: float) -> float:
    """Return how much longer work takes here than on a processor of its own."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() < wall + seconds:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - cpu)
