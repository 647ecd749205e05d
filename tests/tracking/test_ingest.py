"""Other servers' logs: every line once, whatever the file is called and whoever interrupts."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import Count
from django.db.models.functions import TruncHour
from pytest_django import Settings

from tracking import ingest, recorder
from tracking.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)

SHARED = Path(__file__).parents[3] / "shared" / "data"


def line(number: int, agent: str = "tests") -> bytes:
    second, minute = number % 60, number // 60 % 60
    return (
        f"192.0.2.{number % 250} - - [17/May/2015:10:{minute:02}:{second:02} +0000]"
        f' "GET /page/{number} HTTP/1.1" 200 12 "-" "{agent}"\n'
    ).encode()


def lines(first: int, last: int) -> bytes:
    return b"".join(map(line, range(first, last)))


def told(*files: str | Path, capsys: pytest.CaptureFixture[str], **options: object) -> str:
    call_command("ingest_log", *map(str, files), **options)
    return capsys.readouterr().out


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(lines(0, 100))
    return path


def paths() -> list[str]:
    return list(RequestLog.objects.order_by("id").values_list("path", flat=True))


def test_a_log_becomes_rows_with_their_own_times_marked_with_its_name(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "100 recorded, 0 known before, 0 bad" in told(log, capsys=capsys)
    first = RequestLog.objects.order_by("id")[0]
    assert first.at.isoformat() == "2015-05-17T10:00:00+00:00"
    assert (first.address, first.path, first.source) == ("192.0.2.0", "/page/0", "access.log")
    assert len(set(RequestLog.objects.values_list("request_id"))) == 100


def test_reading_it_again_adds_nothing_under_any_name_and_compressed(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(log, capsys=capsys)
    rotated = log.rename(tmp_path / "access.log.1")
    packed = tmp_path / "access.log.2.gz"
    packed.write_bytes(gzip.compress(rotated.read_bytes()))
    for again in (rotated, packed):
        assert "0 recorded, 100 known before" in told(again, capsys=capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(rotated.read_bytes())))
    assert "0 recorded, 100 known before" in told("-", capsys=capsys)
    assert len(paths()) == 100


def test_a_log_that_has_grown_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "small.log"
    for end in (1, 3, 200):
        log.write_bytes(lines(0, end))
        told(log, capsys=capsys)
    assert paths() == [f"/page/{n}" for n in range(200)]


def test_joined_logs_of_which_one_has_grown_are_refused_not_mixed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "joined"
    log.write_bytes(lines(0, 100) + lines(1000, 1100))
    told(log, capsys=capsys)
    log.write_bytes(lines(0, 150) + lines(1000, 1100))
    with pytest.raises(CommandError, match=r"read each log by itself.*0 lines were recorded"):
        call_command("ingest_log", str(log))
    assert len(paths()) == 200


def test_logs_whose_first_line_is_the_same_are_two_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for end in (1, 100):
        one.write_bytes(lines(0, end))
        told(one, capsys=capsys)
    other.write_bytes(lines(0, 1) + lines(500, 550))
    assert "51 recorded, 0 known" in told(other, capsys=capsys)
    assert "0 recorded, 100 known" in told(one, capsys=capsys)
    assert "0 recorded, 51 known" in told(other, capsys=capsys)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\n\n\n", b"\xef\xbb\xbf\n"])
def test_empty_lines_and_other_line_ends_change_nothing(
    log: Path, capsys: pytest.CaptureFixture[str], start: bytes, end: bytes
) -> None:
    log.write_bytes(start + lines(0, 10).replace(b"\n", end))
    assert "10 recorded" in told(log, capsys=capsys)
    assert "0 recorded" in told(log, capsys=capsys)


def test_a_pipe_and_an_archive_of_several_parts_are_read_to_their_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = gzip.compress(lines(0, 50)) + gzip.compress(lines(50, 100))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert "100 recorded" in told(pipe, capsys=capsys)
    writer.join()


def test_two_logs_of_one_name_are_two_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for first in (0, 500):
        (tmp_path / "access.log").write_bytes(lines(first, first + 10))
        assert "10 recorded" in told(tmp_path / "access.log", capsys=capsys)


def test_bad_lines_are_counted_and_shown_with_their_numbers(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(lines(0, 2) + b"garbage\n\n\xff\xfe\x00\n" + lines(2, 4))
    call_command("ingest_log", str(log), source="web1")
    output = capsys.readouterr()
    assert "4 recorded, 0 known before, 2 bad" in output.out
    assert "line 3: neither the common" in output.err
    assert "line 5: neither the common" in output.err
    assert set(RequestLog.objects.values_list("source", flat=True)) == {"web1"}


def test_many_bad_lines_do_not_flood_the_terminal(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(b"garbage\n" * 1000)
    call_command("ingest_log", str(log))
    output = capsys.readouterr()
    assert "1000 bad" in output.out
    assert output.err.count("garbage") + output.err.count("neither") == 20


def test_strict_stops_at_the_bad_line_and_goes_on_there_once_it_is_mended(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = lines(0, 100)
    log.write_bytes(good + b"garbage\n" + lines(100, 103))
    with pytest.raises(CommandError, match=r"line 101: .* 100 lines were recorded"):
        call_command("ingest_log", str(log), strict=True)
    log.write_bytes(good + lines(100, 104))
    assert "4 recorded, 100 known" in told(log, capsys=capsys, strict=True)


def test_a_line_too_long_costs_itself_alone(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(lines(0, 1) + b"x" * 3_000_000 + b"\n" + lines(1, 2))
    assert "2 recorded, 0 known before, 1 bad" in told(log, capsys=capsys)
    assert "0 recorded, 3 known before" in told(log, capsys=capsys)


def test_the_last_line_needs_no_end_when_it_is_whole(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(lines(0, 3).rstrip(b"\n"))
    assert "3 recorded" in told(log, capsys=capsys)
    log.write_bytes(lines(0, 4))
    assert "1 recorded, 3 known" in told(log, capsys=capsys)


def test_a_line_still_being_written_waits(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = lines(0, 3)
    for cut in (40, 25, 15, 5):
        log.write_bytes(content[:-cut])
        told(log, capsys=capsys)
        assert len(paths()) == 2
    assert "waits for the next run" in told(log, capsys=capsys)
    log.write_bytes(content)
    told(log, capsys=capsys)
    assert paths() == ["/page/0", "/page/1", "/page/2"]


def test_a_damaged_archive_keeps_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = gzip.compress(lines(0, 30_000))
    (tmp_path / "a.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CommandError, match="compressed data is damaged"):
        call_command("ingest_log", str(tmp_path / "a.gz"))
    kept = RequestLog.objects.count()
    assert 0 < kept < 30_000
    (tmp_path / "a.gz").write_bytes(packed)
    assert f"{30_000 - kept} recorded" in told(tmp_path / "a.gz", capsys=capsys)


def test_a_database_that_goes_away_in_the_middle_costs_nothing(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BATCH_LINES", 10)
    insert, calls = recorder.insert, Counter[str]()

    def fail_once(rows: list[recorder.Row]) -> int:
        calls["insert"] += 1
        if calls["insert"] == 4:
            raise OperationalError("gone")
        return insert(rows)

    monkeypatch.setattr(recorder, "insert", fail_once)
    with pytest.raises(CommandError, match=r"database is away.*30 lines were recorded"):
        call_command("ingest_log", str(log))
    assert "70 recorded, 30 known" in told(log, capsys=capsys)
    assert paths() == [f"/page/{n}" for n in range(100)]


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        call_command("ingest_log", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="Is a directory"):
        call_command("ingest_log", str(tmp_path))


def test_an_empty_log_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.log").touch()
    assert "0 recorded" in told(tmp_path / "empty.log", capsys=capsys)


def test_secrets_in_a_log_do_not_reach_the_record(
    log: Path, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    settings.TRACKING_LOG_QUERY_STRING = True
    log.write_bytes(line(1).replace(b"/page/1", b"/a?password=hunter2&x=1"))
    told(log, capsys=capsys)
    row = RequestLog.objects.get()
    assert row.query == "password=[redacted]&x=1"
    assert "hunter2" not in str(vars(row))


def test_memory_does_not_grow_with_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "big.log"
    log.write_bytes(lines(0, 20_000))
    tracemalloc.start()
    told(log, capsys=capsys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000, f"{peak} bytes for a log of {log.stat().st_size}"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled logs are not beside this checkout")
def test_a_real_log_is_counted_right_per_address_and_hour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = SHARED / "actors.log"
    assert "5207 recorded, 0 known before, 0 bad" in told(log, capsys=capsys)
    assert "0 recorded, 5207 known before, 0 bad" in told(log, capsys=capsys)
    truth = json.loads((SHARED / "actors.truth.json").read_text())
    counted = dict(RequestLog.objects.values_list("address").annotate(Count("id")))
    assert counted == {address: facts["requests"] for address, facts in truth.items()}
    hours = RequestLog.objects.annotate(hour=TruncHour("at")).values_list("address", "hour")
    busiest: Counter[str] = Counter()
    for address, _, number in hours.annotate(n=Count("id")):
        busiest[address] = max(busiest[address], number)
    for address, facts in truth.items():
        if facts["max_clock_hour"] is not None:
            assert busiest[address] == facts["max_clock_hour"], address


def caddy(number: int) -> bytes:
    request = {"remote_ip": f"192.0.2.{number % 3}", "method": "GET", "uri": f"/page/{number}"}
    line = {"ts": 1646861401 + number, "request": request, "status": 200, "duration": 0.5}
    return json.dumps(line).encode() + b"\n"


def test_lines_of_json_are_known_by_what_they_hold(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "caddy.log"
    other.write_bytes(b"".join(map(caddy, range(5))))
    out = told(other, log, capsys=capsys)
    assert "caddy.log: 5 recorded, 0 known before, 0 bad" in out
    assert "in all: 105 lines, 0 bad" in out
    assert "from 2015-05-17 10:00:00 to 2022-03-09 21:30:05 UTC" in out
    assert "top addresses: 192.0.2.0 3, 192.0.2.1 3, 192.0.2.2 2" in out
    assert RequestLog.objects.filter(source="caddy.log", duration_ms=500).count() == 5
    out = told(other, log, capsys=capsys)
    assert "in all: 105 lines, 0 bad\n" in out
    assert "top" not in out
    assert RequestLog.objects.count() == 105


def test_a_field_map_reads_any_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nginx.json"
    told_by_nginx = (
        '{"t":"2022-03-09T22:30:01+01:00","a":"192.0.2.7","r":"GET /x HTTP/1.1","s":"404"}'
    )
    path.write_text(told_by_nginx + "\n" + "203.0.113.1 - - [x]\n")
    fields = ["--fields", "at=t,address=a,request=r,status=s"]
    call_command("ingest_log", str(path), *fields)
    captured = capsys.readouterr()
    assert "1 recorded, 0 known before, 1 bad" in captured.out
    assert "line 2: not a JSON object" in captured.err
    row = RequestLog.objects.get()
    assert (row.address, row.path, row.status) == ("192.0.2.7", "/x", 404)


def test_a_log_of_which_no_line_could_be_read_can_be_read_with_a_field_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nginx.json"
    path.write_bytes(b'{"t":1646861401,"a":"192.0.2.7","r":"GET / HTTP/1.1","s":200}\n' * 3)
    for _ in range(2):
        assert "0 recorded, 0 known before, 3 bad" in told(path, capsys=capsys)
    call_command("ingest_log", str(path), "--fields", "at=t,address=a,request=r,status=s")
    assert "3 recorded, 0 known before, 0 bad" in capsys.readouterr().out


def test_a_wrong_field_map_is_one_sentence(log: Path) -> None:
    with pytest.raises(CommandError, match="name also what holds address and status"):
        call_command("ingest_log", str(log), "--fields", "at=t")


def test_hostile_lines_of_json_cost_themselves_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "caddy.log"
    hostile = [
        b'{"ts":1,"request":{"uri":"' + b"x" * 5_000_000 + b'"}}',
        b"[" * 60_000,
        b'{"ts": NaN, "request": {}, "status": 200}',
        b'{"request": "text", "status": []}',
        b'{"ts": "\xff\xfe", "request": {"method": "GET", "uri": "/"}, "status": 200}',
        b"\x00\xff",
    ]
    path.write_bytes(caddy(1) + b"\n".join(hostile) + b"\n" + caddy(2))
    call_command("ingest_log", str(path))
    captured = capsys.readouterr()
    assert "2 recorded, 0 known before, 6 bad" in captured.out
    assert [f"line {number}:" in captured.err for number in range(1, 9)] == [
        *([False] + [True] * 6 + [False])
    ]
    assert paths() == ["/page/1", "/page/2"]


def test_more_addresses_than_are_kept_are_told_as_about(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MOST_ADDRESSES", 50)
    assert "top addresses (about):" in told(log, capsys=capsys)


def test_one_log_that_cannot_be_read_keeps_no_other_from_being_read(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match=r"missing\.log: No such file"):
        told(tmp_path / "missing.log", log, capsys=capsys)
    assert len(paths()) == 100
