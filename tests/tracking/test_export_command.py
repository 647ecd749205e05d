"""The record as a file: the command, and what stands in the file whatever stands in the rows."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from tests.schema.record import NOON, record, row
from tracking import export, ipstorage
from tracking.engine.address import parse_address
from tracking.engine.cells import unguarded
from tracking.models import AuditEntry, RequestLog

pytestmark = pytest.mark.django_db

COMMAND = "=cmd|' /C calc'!A0"
# Texts as they are escaped before they are recorded, and worse: nothing else writes them.
HOSTILE = [
    {"user_agent": COMMAND, "path": "/-", "referer": "+1", "city": "@x", "username": "=1"},
    {"user_agent": f"x;{COMMAND}", "path": '/"quoted", and', "referer": "a\r\n=b", "city": "\t=1"},
    {"user_agent": "＝1" + "é" * 500, "path": "/" + "x" * 2000, "username": "'=1", "host": "-x"},
    {"tags": ("sqli", "xss"), "operations": ("-Q",), "asn": 4_200_000_000, "rule_id": 7},
]


def exported(*options: str) -> str:
    out = io.StringIO(newline="")
    call_command("export_logs", *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def objects(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def paths(*options: str) -> list[str]:
    return [each["path"] for each in cells(exported(*options))]


# What stands in the file


def test_no_cell_of_csv_is_a_formula_and_json_lines_hold_the_texts_as_they_are() -> None:
    rows = record(*(row(n, **facts) for n, facts in enumerate(HOSTILE)))
    lines = exported("--format", "jsonl")
    assert lines.isascii()
    for saved, line, told in zip(rows, cells(exported()), objects(lines), strict=True):
        assert list(line) == list(told) == list(export.FIELDS)
        for name, cell in line.items():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝")), name
            assert ";=" not in cell
            text = told[name]
            text = " ".join(text) if isinstance(text, list) else "" if text is None else str(text)
            assert unguarded(cell) == text
        for name in ("user_agent", "path", "referer", "host"):
            assert told[export_name(name)] == getattr(saved, name)
    assert told["tags"] == ["sqli", "xss"]
    assert told["asn"] == 4_200_000_000
    assert told["at"] == "2026-05-17T12:00:03.000000Z"


def export_name(column: str) -> str:
    (name,) = (name for name, read in export.FIELDS.items() if read == column)
    return name


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL's text holds no NUL")
def test_nul_ends_no_cell() -> None:
    record(row(path="/a\0b"))
    assert paths() == ["/a\\x00b"]
    assert objects(exported("--format", "jsonl"))[0]["path"] == "/a\0b"


def test_an_empty_record_is_a_header_alone_or_nothing() -> None:
    assert exported() == ",".join(export.FIELDS) + "\r\n"
    assert exported("--format", "jsonl") == ""


def test_each_row_stands_there_once_the_oldest_first_whatever_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "SCAN", 7)
    monkeypatch.setattr(export, "AT_ONCE", 3)
    moments = [0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 3, 3, 4, 1, 1, 2, 2, 2, 9, 8, 7, 6]
    record(*(row(at, path=f"/{at}.{n:02}") for n, at in enumerate(moments)))
    expected = sorted(RequestLog.objects.values_list("path", flat=True))
    assert paths() == expected
    for some in ("/0", "/2.17", "/9", "/x"):
        found = [path for path in expected if path.startswith(some)]
        assert paths("--path-prefix", some) == found


def test_what_comes_after_the_beginning_is_left_out() -> None:
    record(row(timezone.now() + timedelta(minutes=1), path="/later"), row(path="/now"))
    assert paths() == ["/now"]


# Which requests


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--address 192.0.2.7", "a"),
        ("--address ::ffff:192.0.2.7 --address 2001:db8::1", "ab"),
        ("--network 192.0.2.0/24", "acd"),
        ("--network 2001:db8::/32", "b"),
        ("--country de", "b"),
        ("--country DE --country FR", "bc"),
        ("--status 404", "c"),
        ("--status 4xx", "bc"),
        ("--status 403-404 --status 500", "bcd"),
        ("--verdict blocked", "b"),
        ("--path-prefix /Admin", "c"),
        ("--tag sql", ""),
        ("--tag sqli", "cd"),
        ("--username ada", "d"),
        ("--since 2026-05-17T12:00:01 --until 2026-05-17T12:00:03", "bc"),
        ("--status 4xx --tag sqli --country FR", "c"),
    ],
)
def test_options_choose(options: str, found: str) -> None:
    record(
        row(0, path="/a", address="192.0.2.7"),
        row(1, path="/b", address="2001:db8::1", country="DE", status=403, verdict="BLOCKED"),
        row(2, path="/Admin/c", country="FR", status=404, tags=("sqli", "xss")),
        row(3, path="/admin/d", status=500, tags=("sqli",), username="ada"),
    )
    assert "".join(path[-1] for path in paths(*options.split())) == found


@pytest.mark.parametrize("storage", ["truncated", "hashed"])
def test_an_address_finds_its_requests_however_addresses_are_kept(
    storage: str, settings: Settings
) -> None:
    settings.TRACKING_IP_STORAGE = storage
    kept = ipstorage.stored(parse_address("192.0.2.7"))
    record(row(0, path="/kept", address=str(kept)), row(1, path="/other", address="203.0.113.1"))
    assert paths("--address", "192.0.2.7") == ["/kept"]


@pytest.mark.one_store
@pytest.mark.parametrize(
    "options",
    [
        ("--address", "192.0.2"),
        ("--network", "10.0.0.1/8"),
        ("--country", "DEU"),
        ("--status", "600"),
        ("--status", "²"),
        ("--verdict", "PERHAPS"),
        ("--path-prefix", ""),
        ("--path-prefix", "/\0"),
        ("--path-prefix", "/\udcff"),
        ("--tag", "two words"),
        ("--since", "yesterday"),
        ("--format", "xlsx"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_and_nothing_is_on_record(
    options: tuple[str, str],
) -> None:
    with pytest.raises(CommandError, match=options[0]):
        exported(*options)
    assert not AuditEntry.objects.exists()


def test_an_export_is_in_the_audit_log() -> None:
    exported("--status", "4xx", "--since", "2026-05-17", "--format", "jsonl")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("command line", "export", "request log")
    assert entry.after == {
        "format": "JSON_LINES",
        "filter": {"since": "2026-05-17T00:00:00+00:00", "status": ["4xx"]},
    }


# Where to


def test_a_file_is_for_its_owner_alone_and_replaced_only_by_force(tmp_path: Path) -> None:
    record(row(path="/1"))
    file = tmp_path / f"{'long' * 61}log.csv"
    exported("--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_bytes()
    assert first.decode() == exported()
    record(row(1, path="/2"))
    with pytest.raises(CommandError, match=r"log\.csv is there already: .* --force"):
        exported("--output", str(file))
    assert file.read_bytes() == first
    file.chmod(0o644)
    exported("--output", str(file), "--force")
    assert [each["path"] for each in cells(file.read_text())] == ["/1", "/2"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (tmp_path, pipe, link, tmp_path / "no" / "folder"):
        with pytest.raises(CommandError, match=r"is there already|cannot be written"):
            exported("--output", str(place), "--force")
    assert link.is_symlink()
    assert pipe.is_fifo()


def going_away_after(questions: int) -> Callable[..., Any]:
    """Return what lets so many questions to the record through, and no more."""
    left = questions

    def ask(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal left
        left -= RequestLog._meta.db_table in sql and sql.startswith("SELECT")
        if left < 0:
            raise OperationalError("the server closed the connection")
        return execute(sql, *rest)

    return ask


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_database_that_goes_away_shows_in_the_file_and_leaves_none_behind(
    form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    record(*(row(n, path=f"/{n}") for n in range(5)))
    out = io.StringIO(newline="")
    with (
        connection.execute_wrapper(going_away_after(3)),
        pytest.raises(CommandError, match="could not be read on after 4 requests"),
    ):
        call_command("export_logs", "--format", form, stdout=out)
    *lines, last = out.getvalue().splitlines()
    assert len(lines) == (5 if form == "csv" else 4)
    assert "INCOMPLETE: the database could not be read on after 4 requests." in last
    with connection.execute_wrapper(going_away_after(3)), pytest.raises(CommandError):
        exported("--output", str(tmp_path / "log"))
    assert list(tmp_path.iterdir()) == []
    assert not out.getvalue().count("server closed")


def test_a_database_that_is_away_is_told_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(AuditEntry, "save", away)
    with pytest.raises(CommandError, match=r"database is away .*nothing is exported"):
        exported()


def test_a_time_with_a_zone_is_that_moment() -> None:
    record(row(NOON, path="/noon"))
    assert paths("--since", "2026-05-17T14:00+02:00", "--until", "2026-05-17T14:01+02:00") == [
        "/noon"
    ]
