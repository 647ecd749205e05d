"""The figures of the overview as its page shows them: in words and shares, with ways to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.timezone import localtime

from tracking.engine.text import printable
from tracking.engine.verdict import VerdictKind
from tracking.models import Subject
from tracking.overview import Bucket, Overview, Period, Top
from tracking.overviewadmin.links import Links

LONGEST_VALUE = 120  # characters of a path

VERDICTS = {
    VerdictKind.ALLOWED: "Allowed",
    VerdictKind.OBSERVED: "Would be refused",
    VerdictKind.LIMITED: "Limited",
    VerdictKind.BLOCKED: "Blocked",
}
STATUS_CLASSES = {
    "1xx": "Information",
    "2xx": "Success",
    "3xx": "Redirect",
    "4xx": "Client error",
    "5xx": "Server error",
}
CARDS = {
    Subject.ADDRESS: "Addresses",
    Subject.NETWORK: "Networks",
    Subject.COUNTRY: "Countries",
    Subject.PATH: "Paths",
    Subject.LIMIT: "Limits hit",
}
REFUSED = (VerdictKind.BLOCKED, VerdictKind.LIMITED)
# Which buckets of time have their name under the chart, so that all names fit on a phone.
_NAMED: dict[Period, tuple[str, Callable[[datetime], bool]]] = {
    Period.HOUR: ("%H:%M", lambda local: local.minute % 10 == 0),
    Period.DAY: ("%H:%M", lambda local: local.hour % 3 == 0),
    Period.WEEK: ("%a %d", lambda local: local.hour == 0),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of all requests: the class it is drawn in, its name, how many, where they are."""

    kind: str
    words: str
    requests: int
    share: str
    url: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A bucket of time, with a number for each verdict and then for each class of status."""

    start: datetime
    url: str
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Line:
    """A value and its requests; the lengths are those of the two parts of its bar."""

    words: str
    country: str
    url: str
    requests: int
    refused: int
    admitted_length: str
    refused_length: str


@dataclass(frozen=True, slots=True)
class Card:
    """The busiest values of a subject; each may have up to `missing` requests more."""

    name: str
    title: str
    head: str
    lines: list[Line]
    missing: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the page says of the requests of a period; `series` is what charts are made of."""

    requests: int
    url: str
    refused: int
    refused_share: str
    errors: Part
    verdicts: list[Part]
    statuses: list[Part]
    moments: list[Moment]
    cards: list[Card]
    series: dict[str, Any]


def figures(found: Overview, links: Links) -> Figures:
    """Return what the page says of an overview."""
    verdicts = [_verdict(kind, found, links) for kind in VERDICTS]
    statuses = [_status(name, found, links) for name in _status_names(found)]
    moments = [_moment(bucket, found, links) for bucket in found.buckets]
    refused = sum(found.verdicts.get(kind, 0) for kind in REFUSED)
    return Figures(
        requests=found.requests,
        url=links.requests(found.start, found.end),
        refused=refused,
        refused_share=_share(refused, found.requests),
        errors=next(part for part in statuses if part.kind == "s5xx"),
        verdicts=verdicts,
        statuses=statuses,
        moments=moments,
        cards=[_card(subject, found, links) for subject in CARDS],
        series=_series(found.period, verdicts, statuses, moments),
    )


def _status_names(found: Overview) -> list[str]:
    """Return the classes of status to show: all that occurred, and the usual ones."""
    return sorted({"2xx", "3xx", "4xx", "5xx", *found.status_classes})


def _verdict(kind: VerdictKind, found: Overview, links: Links) -> Part:
    requests = found.verdicts.get(kind, 0)
    url = links.requests(found.start, found.end, verdict=kind.value)
    return Part(kind.lower(), VERDICTS[kind], requests, _share(requests, found.requests), url)


def _status(name: str, found: Overview, links: Links) -> Part:
    requests = found.status_classes.get(name, 0)
    share = _share(requests, found.requests)
    if name not in STATUS_CLASSES:  # of a foreign log, which no filter asks for
        return Part("other", name, requests, share, "")
    url = links.requests(found.start, found.end, status_class=name[0])
    return Part(f"s{name}", f"{name} {STATUS_CLASSES[name]}", requests, share, url)


def _moment(bucket: Bucket, found: Overview, links: Links) -> Moment:
    by_verdict = [bucket.verdicts.get(kind, 0) for kind in VERDICTS]
    by_status = [bucket.status_classes.get(name, 0) for name in _status_names(found)]
    url = links.requests(bucket.start, bucket.start + found.width)
    return Moment(bucket.start, url, [*by_verdict, *by_status])


def _card(subject: Subject, found: Overview, links: Links) -> Card:
    tops = found.tops[subject]
    longest = max((top.requests for top in tops), default=1)
    lines = [_line(subject, top, longest, found, links) for top in tops]
    head = "Limit" if subject is Subject.LIMIT else subject.capitalize()
    return Card(subject.lower(), CARDS[subject], head, lines, found.missing[subject])


def _line(subject: Subject, top: Top, longest: int, found: Overview, links: Links) -> Line:
    return Line(
        words=printable(top.value, LONGEST_VALUE) or "unknown",
        country=top.value if subject is Subject.COUNTRY else "",
        url=_where(subject, top.value, found, links),
        requests=top.requests,
        refused=top.refused,
        admitted_length=_share(top.requests - top.refused, longest),
        refused_length=_share(top.refused, longest),
    )


def _where(subject: Subject, value: str, found: Overview, links: Links) -> str:
    """Return where the requests of a value are; "" where the log cannot be asked for it."""
    if subject is Subject.LIMIT:
        asked = {"verdict": VerdictKind.LIMITED.value}
    elif subject in {Subject.ADDRESS, Subject.NETWORK}:
        asked = {"network": value}
    else:
        asked = {subject.lower(): value}
    return links.requests(found.start, found.end, **asked) if value else ""


def _series(
    period: Period, verdicts: list[Part], statuses: list[Part], moments: list[Moment]
) -> dict[str, Any]:
    written, is_named = _NAMED[period]
    local = [localtime(moment.start) for moment in moments]
    columns = [list(column) for column in zip(*(moment.numbers for moment in moments), strict=True)]
    parts = [
        {"kind": part.kind, "words": part.words, "numbers": numbers}
        for part, numbers in zip([*verdicts, *statuses], columns, strict=True)
    ]
    return {
        "ticks": [f"{start:{written}}" if is_named(start) else "" for start in local],
        "titles": [f"{start:%a %d %b %H:%M}" for start in local],
        "verdicts": parts[: len(verdicts)],
        "statuses": parts[len(verdicts) :],
    }


def _share(part: int, whole: int) -> str:
    """Return a share in percent, as text that no language writes with a comma."""
    return f"{100 * part / whole:.1f}%" if whole else "0.0%"
