"""`ingest_log --follow`: what is written to live logs is recorded, through every rotation."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from tracking import logtail, recorder
from tracking.models import ReadPosition, RequestLog

pytestmark = pytest.mark.django_db(transaction=True)


def lines(first: int, last: int) -> bytes:
    return b"".join(
        f"192.0.2.{number % 9} - - [17/May/2015:10:{number // 60 % 60:02}:{number % 60:02} +0000]"
        f' "GET /page/{number} HTTP/1.1" 200 12 "-" "tests"\n'.encode()
        for number in range(first, last)
    )


def paths() -> list[str]:
    return list(RequestLog.objects.order_by("id").values_list("path", flat=True))


def pages(first: int, last: int) -> list[str]:
    return [f"/page/{number}" for number in range(first, last)]


def write(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def until(rows: int) -> None:
    """Wait until so many rows are on record, or for a time in which they surely would be."""
    end = time.monotonic() + 20
    while RequestLog.objects.count() < rows and time.monotonic() < end:
        time.sleep(0.02)
    assert RequestLog.objects.count() >= rows


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(logtail, name, 0.02)
    monkeypatch.setattr(logtail, "QUIET_SECONDS", 0.2)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(lines(0, 3))
    return path


def follow(
    *files: Path, meanwhile: Callable[[], None], end: signal.Signals = signal.SIGTERM
) -> None:
    """Run the command until `meanwhile`, in a thread of its own, is over and a signal comes."""
    failures: list[BaseException] = []

    def act() -> None:
        try:
            meanwhile()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)
        finally:
            connection.close()
            os.kill(os.getpid(), end)

    until_started = threading.Thread(target=act)
    until_started.start()
    try:
        call_command("ingest_log", *map(str, files), "--follow")
    finally:
        until_started.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_lines_are_recorded_as_they_come_until_a_signal(
    log: Path, capsys: pytest.CaptureFixture[str], end: signal.Signals
) -> None:
    def act() -> None:
        until(3)
        write(log, lines(3, 5))
        until(5)
        write(log, lines(5, 6)[:40])
        time.sleep(0.1)
        write(log, lines(5, 6)[40:] + b"nonsense\n")
        until(6)
        time.sleep(0.1)

    follow(log, meanwhile=act, end=end)
    out = capsys.readouterr().out
    assert paths() == pages(0, 6)
    assert "access.log: 6 recorded, 0 known before, 1 bad" in out
    assert "in all: 7 lines, 1 bad; recorded now: from 2015-05-17 10:00:00" in out
    assert "top addresses: 192.0.2.0 1" in out


def test_a_log_that_is_moved_away_is_read_to_its_end_and_then_the_new_one(
    log: Path, tmp_path: Path
) -> None:
    def act() -> None:
        until(3)
        time.sleep(0.3)  # nothing was written for longer than a moved log is waited for
        with log.open("ab") as old:
            log.rename(tmp_path / "access.log.1")
            time.sleep(0.1)
            log.write_bytes(lines(5, 7))
            old.write(lines(3, 5))
        until(7)
        log.rename(tmp_path / "access.log.2")  # and no new one for a while
        time.sleep(0.5)
        log.write_bytes(lines(7, 9))
        until(9)

    follow(log, meanwhile=act)
    assert paths() == pages(0, 9)


def test_a_log_that_is_emptied_in_its_place_begins_anew(log: Path, tmp_path: Path) -> None:
    def act() -> None:
        until(3)
        shutil.copy(log, tmp_path / "access.log.1")
        os.truncate(log, 0)
        time.sleep(0.1)
        write(log, lines(3, 5))
        until(5)
        # Emptied, and longer than before already when somebody looks.
        log.write_bytes(lines(5, 15))
        until(15)

    follow(log, meanwhile=act)
    assert paths() == pages(0, 15)
    call_command("ingest_log", str(tmp_path / "access.log.1"))
    assert len(paths()) == 15


def test_each_line_is_recorded_once_however_often_it_is_started(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(log, meanwhile=lambda: until(3))
    write(log, lines(3, 200))
    follow(log, meanwhile=lambda: until(200))
    assert "197 recorded, 3 known before" in capsys.readouterr().out
    write(log, lines(200, 210))
    rotated = log.rename(tmp_path / "access.log.1")
    call_command("ingest_log", str(rotated))
    assert paths() == pages(0, 210)
    assert ReadPosition.objects.filter(name__startswith="log:4096:").count() == 1


def test_several_logs_are_followed_at_once(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    other.write_bytes(b"")  # nothing yet

    def act() -> None:
        until(3)
        write(other, lines(50, 60))
        write(log, lines(3, 5))
        until(15)

    follow(log, other, meanwhile=act)
    counts = {log.name: 5, other.name: 10}
    for source, count in counts.items():
        assert RequestLog.objects.filter(source=source).count() == count


def test_logs_that_begin_alike_become_two_as_soon_as_they_differ(log: Path, tmp_path: Path) -> None:
    def act() -> None:
        until(3)
        write(log, lines(3, 100))
        until(100)

    follow(log, meanwhile=act)
    other = tmp_path / "other.log"
    other.write_bytes(lines(0, 3) + lines(500, 510))
    call_command("ingest_log", str(other))
    assert RequestLog.objects.filter(source="other.log").count() == 13


def test_a_database_that_is_away_is_waited_for(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls = recorder.advance, []

    def flaky(*arguments: object) -> int:
        calls.append(1)
        if len(calls) in {2, 3}:
            raise OperationalError("gone")
        return advance(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder, "advance", flaky)

    def act() -> None:
        until(3)
        write(log, lines(3, 6))
        until(6)

    follow(log, meanwhile=act)
    told = capsys.readouterr()
    assert paths() == pages(0, 6)
    assert "gone; trying again" in told.err
    assert "6 recorded, 0 known before, 0 bad" in told.out


def test_a_compressed_log_and_none_at_all_are_one_sentence(tmp_path: Path) -> None:
    packed = tmp_path / "access.log.gz"
    packed.write_bytes(b"\x1f\x8b" + bytes(5000))
    with pytest.raises(CommandError, match="without --follow"):
        call_command("ingest_log", str(packed), "--follow")
    for name in ("-", str(tmp_path), str(tmp_path / "missing")):
        with pytest.raises(CommandError, match="--follow reads files only"):
            call_command("ingest_log", name, "--follow")
