"""Rules as files: lists of targets, CSV and JSON to read and write, and firewalls to write for.

Exported CSV and JSON make the same rules when they are read; hits and authors are told only.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tracking.engine.address import parse_network, shown
from tracking.engine.cells import guarded, unguarded
from tracking.engine.firewalls import WRITERS
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.guards import is_plain
from tracking.models import AccessRule
from tracking.proposals import Proposal

READABLE = ("plain", "csv", "json")
WRITABLE = (*READABLE, *WRITERS)
READ_COLUMNS = ("target", "action", "observed", "path", "methods", "expires_at", "reason")
TOLD_COLUMNS = ("origin", "created_by", "created_at", "hits", "last_hit_at")
COLUMNS = (*READ_COLUMNS, *TOLD_COLUMNS)

_COMMENT = re.compile("[#;]")
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


class FileError(ValueError):
    """The file cannot be read at all; the message says why."""


class Lines(Protocol):
    """An open text file, or anything else that yields its lines."""

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a line that does not say otherwise."""

    expires_at: datetime | None = None
    reason: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, or one object of a JSON list, by its number from 1: a proposal or what is wrong."""

    number: int
    proposal: Proposal | None
    problem: str = ""


def format_of(name: str) -> str:
    """Return the format that a file's name tells, plain if none."""
    _, dot, ending = name.lower().rpartition(".")
    return ending if dot and ending in READABLE else "plain"


def read(file_format: str, lines: Lines, defaults: Defaults) -> Iterator[Entry]:
    """Yield what each line proposes. Raises FileError for what has no lines to speak of."""
    if file_format == "plain":
        return _read_plain(lines, defaults)
    if file_format == "csv":
        return _read_csv(lines, defaults)
    return _read_json(lines, defaults)


def write(
    file_format: str, rules: Iterable[AccessRule], action: RuleAction | None = None
) -> Iterator[str]:
    """Yield the parts of a file; without an action, what that format takes for granted.

    CSV and JSON tell all of every rule. The others hold rules that decide for every path and
    method; nginx, nftables and ipset hold addresses and networks only.
    """
    if file_format == "csv":
        return _write_csv(rules)
    if file_format == "json":
        return _write_json(rules)
    plain = (rule for rule in rules if is_plain(rule))
    if file_format == "plain":
        wanted = action or RuleAction.BLOCK
        return (f"{rule.target}\n" for rule in plain if rule.action == wanted)
    networks = [
        (parse_network(rule.target), RuleAction(rule.action))
        for rule in plain
        if rule.prefix is not None
    ]
    return WRITERS[file_format](networks, action)


def told(rule: AccessRule) -> dict[str, Any]:
    """Return a rule by the names of COLUMNS, as JSON can hold it."""
    return {
        "target": rule.target,
        "action": rule.action,
        "observed": rule.observed,
        "path": rule.path,
        "methods": list(rule.methods),
        "expires_at": _written(rule.expires_at),
        "reason": rule.reason,
        "origin": rule.origin,
        "created_by": rule.created_by,
        "created_at": _written(rule.created_at),
        "hits": rule.hits,
        "last_hit_at": _written(rule.last_hit_at),
    }


def _read_plain(lines: Lines, defaults: Defaults) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        text = _COMMENT.split(line, maxsplit=1)[0].strip()
        if text:
            yield _entry(number, {"target": text}, defaults)


def _read_csv(lines: Lines, defaults: Defaults) -> Iterator[Entry]:
    rows = csv.reader(lines, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        raise FileError(f"The first line is no CSV: {error}.") from None
    _check_columns(header)
    return _read_rows(rows, header, defaults)


def _read_rows(rows: Any, header: list[str], defaults: Defaults) -> Iterator[Entry]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Entry(rows.line_num, None, f"this is no CSV: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            problem = f"{len(row)} cells stand under {len(header)} columns"
            yield Entry(rows.line_num, None, problem)
            continue
        cells = dict(zip(header, map(unguarded, row), strict=True))
        yield _entry(rows.line_num, cells, defaults)


def _read_json(lines: Lines, defaults: Defaults) -> Iterator[Entry]:
    try:
        objects = json.loads("".join(lines))
    except (ValueError, RecursionError) as error:
        raise FileError(f"This is no JSON: {error}.") from None
    if not isinstance(objects, list):
        raise FileError('Write a list of objects, such as [{"target": "192.0.2.1"}].')
    return (_read_object(number, each, defaults) for number, each in enumerate(objects, 1))


def _read_object(number: int, each: object, defaults: Defaults) -> Entry:
    if not isinstance(each, dict):
        return Entry(number, None, 'this is no object such as {"target": "192.0.2.1"}')
    try:
        _check_columns(list(each))
    except FileError as error:
        return Entry(number, None, str(error))
    return _entry(number, each, defaults)


def _check_columns(names: list[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if "target" not in names or unknown:
        wrong = f"{shown(unknown[0])} is none of the columns" if unknown else "No column is target"
        raise FileError(f"{wrong}: write target, and any of {', '.join(READ_COLUMNS[1:])}.")
    if len(set(names)) != len(names):
        raise FileError("Two columns have the same name.")


def _entry(number: int, fields: Mapping[str, Any], defaults: Defaults) -> Entry:
    try:
        return Entry(number, _proposal(fields, defaults))
    except ValueError as error:
        return Entry(number, None, str(error))


def _proposal(fields: Mapping[str, Any], defaults: Defaults) -> Proposal:
    return Proposal(
        target=read_target(_text(fields, "target")),
        action=_action(_text(fields, "action")),
        observed=_switch(fields.get("observed", False)),
        path=_text(fields, "path"),
        methods=_methods(fields.get("methods", "")),
        expires_at=_time(_text(fields, "expires_at")) or defaults.expires_at,
        reason=_text(fields, "reason") or defaults.reason,
        origin=AccessRule.Origin.IMPORT,
        force=defaults.force,
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _action(text: str) -> RuleAction:
    try:
        return RuleAction(text.strip().upper() or RuleAction.BLOCK)
    except ValueError:
        raise ValueError(f"{shown(text)} is no action: write BLOCK or ALLOW") from None


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError("observed is neither true nor false")


def _methods(value: object) -> tuple[str, ...]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError('methods are neither words nor a list such as ["POST"]')
    return tuple(words)


def _time(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{shown(text)} is no time with its zone, such as 2030-01-31T12:00:00Z")
    return moment


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _write_csv(rules: Iterable[AccessRule]) -> Iterator[str]:
    writer = csv.writer(_Returning())
    yield writer.writerow(COLUMNS)
    for rule in rules:
        yield writer.writerow(_cell(value) for value in told(rule).values())


def _write_json(rules: Iterable[AccessRule]) -> Iterator[str]:
    before = "[\n"
    for rule in rules:
        yield before + json.dumps(told(rule), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


class _Returning:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return guarded(text)
