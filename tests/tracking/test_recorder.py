"""From the journal to the database: each line one row, whatever happens in between."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from tests.tracking.records import HARMLESS, numbered
from tracking import drainer, journal, recorder
from tracking.engine.visit import Record
from tracking.models import Counter, ReadPosition, RequestLog

pytestmark = pytest.mark.django_db(transaction=True)


def written(*records: Record) -> Path:
    own = journal.mine()
    for record in records:
        own.append(record)
    assert own.segment is not None
    return own.segment


def orphaned(*records: Record) -> Path:
    segment = written(*records)
    journal.close()
    return segment


def counter(name: str) -> int:
    return Counter.objects.filter(name=name).values_list("value", flat=True).first() or 0


def request_ids() -> list[int]:
    return [
        int(row, 16)
        for row in RequestLog.objects.order_by("id").values_list("request_id", flat=True)
    ]


def test_a_record_becomes_a_row_with_all_its_facts() -> None:
    written(
        HARMLESS._replace(
            address="2001:db8::1",
            path="//Admin/%2e/",
            user_agent="a\x00b",
            operations="Login me",
            tags="sqli",
            username="ada",
            user_pk="7",
        )
    )
    assert drainer.drain() == 1
    row = RequestLog.objects.get()
    assert row.at == datetime(2026, 11, 22, 10, 0, 0, 1, tzinfo=UTC)
    assert (row.address, row.counting_key) == ("2001:db8::1", "2001:db8::/64")
    assert (row.path, row.normal_path) == ("//Admin/%2e/", "/admin")
    assert row.user_agent == r"a\x00b"
    assert (row.operations, row.tags) == (("Login", "me"), ("sqli", "sensitive_path"))
    assert (row.username, row.user_pk, row.status, row.duration_ms) == ("ada", "7", 200, 1.5)
    assert (row.verdict, row.source) == ("ALLOWED", "live")
    assert abs((timezone.now() - row.recorded_at).total_seconds()) < 60


def test_a_whole_second_compares_with_what_the_orm_writes() -> None:
    at = datetime(2026, 11, 22, 10, tzinfo=UTC)
    written(HARMLESS._replace(at=at.replace(tzinfo=None).isoformat(" ")))
    drainer.drain()
    assert RequestLog.objects.filter(at=at, at__lte=at, at__gte=at).exists()
    assert not RequestLog.objects.filter(at__lt=at).exists()


def test_draining_twice_adds_nothing() -> None:
    written(numbered(1), numbered(2))
    assert drainer.drain() == 2
    assert drainer.drain() == 0
    written(numbered(3))
    assert drainer.drain() == 1
    assert request_ids() == [1, 2, 3]


def test_a_line_still_being_written_waits_for_its_end() -> None:
    segment = written(numbered(1))
    whole = journal.framed(numbered(2))
    with segment.open("ab") as file:
        file.write(whole[:30])
        file.flush()
        assert drainer.drain() == 1
        file.write(whole[30:])
    assert drainer.drain() == 1
    assert request_ids() == [1, 2]
    assert counter(recorder.DAMAGED) == 0


def test_the_torn_end_of_an_orphan_is_counted_not_guessed() -> None:
    segment = orphaned(numbered(1))
    with segment.open("ab") as file:
        file.write(journal.framed(numbered(2))[:30])
    assert drainer.drain() == 1
    assert counter(recorder.DAMAGED) == 1
    assert ReadPosition.objects.get().finished_at is not None


def test_a_damaged_line_costs_itself_alone() -> None:
    segment = orphaned(numbered(1), numbered(2), numbered(3))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert drainer.drain() == 2
    assert request_ids() == [1, 3]
    assert counter(recorder.DAMAGED) == 1


def test_a_megabyte_without_a_line_end_is_passed_over() -> None:
    segment = orphaned(numbered(1))
    with segment.open("ab") as file:
        file.write(b"x" * (drainer.CHUNK_BYTES * 2) + journal.framed(numbered(2)))
    assert drainer.drain() == 2
    assert counter(recorder.DAMAGED) >= 1


def test_of_two_readers_at_one_position_one_wins() -> None:
    segment = written(numbered(1))
    first = ReadPosition.objects.create(name=segment.name)
    second = ReadPosition.objects.get(pk=first.pk)
    assert recorder.advance(first, 100, [numbered(1)]) == 1
    with pytest.raises(recorder.Outrun):
        recorder.advance(second, 100, [numbered(1)])
    assert request_ids() == [1]


def test_many_drainers_at_once_make_each_line_one_row() -> None:
    for first in range(0, 600, 100):
        orphaned(*(numbered(n) for n in range(first, first + 100)))

    def drain() -> None:
        try:
            for _ in range(5):
                drainer.drain()
        finally:
            connection.close()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drainer.drain()
    assert sorted(request_ids()) == list(range(600))


def test_rows_and_position_come_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    written(numbered(1), numbered(2))

    def fail(rows: object) -> int:
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as away:
        away.setattr(recorder, "insert", fail)
        with pytest.raises(OperationalError):
            drainer.drain()
    assert not RequestLog.objects.exists()
    assert drainer.drain() == 2


def test_a_row_the_database_refuses_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    # 2**63 fits neither store's integer; the other rows do.
    refused = HARMLESS._replace(duration_ms="no number", status=None, request_id="bad")  # type: ignore[arg-type]
    written(numbered(1), refused, numbered(2))
    assert drainer.drain() == 2
    assert request_ids() == [1, 2]
    assert counter(recorder.DAMAGED) == 1
    assert "request bad" in caplog.text


def test_a_live_segment_of_another_process_is_left_to_it(journal_dir: Path) -> None:
    stranger = journal.Journal(journal.folder(journal_dir), 1 << 20)
    stranger.append(numbered(1))
    assert drainer.adopt() == 0
    stranger.close()
    assert drainer.adopt() == 1


def test_an_adopted_segment_is_taken_part_by_part(
    journal_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphaned(*(numbered(n) for n in range(100)))
    monkeypatch.setattr(drainer, "CHUNK_BYTES", 2000)
    parts = []
    while part := drainer.adopt():
        parts.append(part)
    assert len(parts) > 2
    assert sum(parts) == 100


def test_who_looks_in_the_moment_of_opening_does_not_take_the_segment_for_a_dead_owners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = journal.lock

    def drain_first(fd: int) -> bool:
        with monkeypatch.context() as inner:
            inner.setattr(journal, "lock", lock)
            drainer.drain()
        return lock(fd)

    with monkeypatch.context() as moment:
        moment.setattr(journal, "lock", drain_first)
        written(numbered(1))
    assert drainer.drain() == 1


def test_a_reader_that_comes_late_does_not_repeat_a_segment_that_was_cleared_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACKING_JOURNAL_UNLINK_DELAY = 0
    segment = orphaned(numbered(1), numbered(2))
    drainer.drain()
    lock = journal.lock

    def clear_first(fd: int) -> bool:
        drainer.clear()
        return lock(fd)

    monkeypatch.setattr(journal, "lock", clear_first)
    assert drainer.drain_segment(segment) == 0
    assert request_ids() == [1, 2]
    assert not ReadPosition.objects.exists()


def test_a_copy_of_this_node_does_not_forget_what_was_read_here(
    settings: Settings, tmp_path: Path
) -> None:
    settings.TRACKING_JOURNAL_UNLINK_DELAY = 0
    orphaned(numbered(1))
    drainer.drain()
    here, copy = tmp_path, tmp_path / "copy"
    journal.folder(copy / "journal")
    (copy / "journal" / "node").write_bytes((here / "journal" / "node").read_bytes())
    settings.TRACKING_STATE_DIR = copy
    drainer.clear()
    settings.TRACKING_STATE_DIR = here
    assert drainer.drain() == 0
    assert request_ids() == [1]


def test_a_finished_segment_is_unlinked_after_the_delay(
    settings: Settings, journal_dir: Path
) -> None:
    segment = orphaned(numbered(1))
    drainer.drain()
    drainer.clear()
    assert segment.exists(), "the delay is not over"
    settings.TRACKING_JOURNAL_UNLINK_DELAY = 0
    drainer.clear()
    assert not segment.exists()
    assert not ReadPosition.objects.exists()


def test_a_segment_stays_until_its_rows_are_durable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACKING_JOURNAL_UNLINK_DELAY = 0
    segment = orphaned(numbered(1))
    drainer.drain()
    monkeypatch.setattr(drainer, "_durable", lambda: False)
    drainer.clear()
    assert segment.exists()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's checkpoints")
def test_on_sqlite_durable_means_checkpointed() -> None:
    orphaned(numbered(1))
    drainer.drain()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    assert drainer._durable()
    other = connection.copy()
    try:
        with transaction.atomic():
            written(numbered(2))
        with other.cursor() as cursor:  # a reader with an old snapshot keeps the log from moving
            cursor.execute("BEGIN")
            cursor.execute("SELECT count(*) FROM tracking_requestlog")
            drainer.drain()
            assert not drainer._durable()
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert drainer._durable()


def test_over_its_bound_the_oldest_segment_goes_and_its_records_are_counted(
    settings: Settings, journal_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRACKING_JOURNAL_TOTAL_BYTES = 8192
    oldest = orphaned(*(numbered(n) for n in range(50)))
    os.utime(oldest, (1, 1))
    newest = orphaned(*(numbered(n) for n in range(50, 55)))
    drainer.bound()
    assert not oldest.exists()
    assert newest.exists()
    assert "dropped with 50 records" in caplog.text
    drainer.drain()
    drainer.clear()
    assert counter(recorder.DROPPED) == 50
    assert request_ids() == [50, 51, 52, 53, 54]


def test_records_already_in_the_database_are_not_told_as_lost(settings: Settings) -> None:
    settings.TRACKING_JOURNAL_TOTAL_BYTES = 8192
    segment = orphaned(*(numbered(n) for n in range(60)))
    drainer.drain()
    drainer.bound()
    drainer.clear()
    assert not segment.exists()
    assert counter(recorder.DROPPED) == 0


def test_the_segment_being_written_is_never_dropped(settings: Settings) -> None:
    settings.TRACKING_JOURNAL_TOTAL_BYTES = 8192
    segment = written(*(numbered(n) for n in range(60)))
    drainer.bound()
    assert segment.exists()


def test_the_backlog_is_what_the_database_has_not_got() -> None:
    segment = written(numbered(1), numbered(2))
    assert drainer.backlog() == segment.stat().st_size
    drainer.drain()
    assert drainer.backlog() == 0


def test_records_the_disk_did_not_take_reach_the_counter(journal_dir: Path) -> None:
    own = journal.mine()
    own.append(numbered(1))
    own.dropped = 3
    drainer.clear()
    drainer.clear()
    assert counter(recorder.DROPPED) == 3


def test_losses_that_could_not_be_counted_are_counted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(name: str, number: int) -> None:
        raise OperationalError("locked")

    written(numbered(1))
    journal.mine().dropped = 3
    with monkeypatch.context() as database:
        database.setattr(recorder, "count", away)
        with pytest.raises(OperationalError):
            drainer.clear()
    drainer.clear()
    assert counter(recorder.DROPPED) == 3
