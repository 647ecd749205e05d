"""Old rows go: whole partitions of them on PostgreSQL, a few at a time elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from tests.tracking.records import numbered
from tests.tracking.test_commands import row
from tests.tracking.test_rollups import as_said
from tracking import drainer, journal, partitions, recorder, retention, rollups, tasks
from tracking.breakdown import Breakdown
from tracking.models import Counter, RequestLog
from tracking.statistics import Interval

pytestmark = pytest.mark.django_db(transaction=True)

BEGIN_ANEW = "ALTER TABLE tracking_requestlog ALTER COLUMN id RESTART WITH 1"

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's own")


@pytest.fixture(autouse=True)
def small_partitions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(partitions, "FEW", 2)
    settings.TRACKING_LOG_RETENTION_DAYS = 30
    if connection.vendor != "postgresql":
        yield
        return
    run(BEGIN_ANEW)
    yield
    RequestLog.objects.all().delete()
    migrate("unite")  # other tests find the first partition again
    run(BEGIN_ANEW)
    migrate("divide")


def migrate(function: str) -> None:
    """Run the migration to partitions, or back: "divide" or "unite"."""
    module = import_module("tracking.migrations.0010_partitions")
    with connection.schema_editor(atomic=False) as editor:
        getattr(module, function)(None, editor)


def run(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def parts() -> list[list[int]]:
    """How old the rows of each partition are, in days, in the order in which they were recorded."""
    now = timezone.now()
    found: dict[object, list[int]] = {}
    sql = "SELECT tableoid::regclass::text, recorded_at FROM tracking_requestlog ORDER BY id"
    for table, recorded_at in run(sql):
        found.setdefault(table, []).append((now - recorded_at).days)  # type: ignore[operator]
    return list(found.values())


def recorded(*days_old: int) -> None:
    """Record requests so many days ago, the worker doing its duty meanwhile."""
    for days in days_old:
        row(days)
        retention.renew(timezone.now() - timedelta(days=days))


def counted() -> tuple[object, object]:
    """What counts by the hour say, and what the rows say."""
    end = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    found = Breakdown()
    found.add(RequestLog.objects.all(), Interval.HOUR)
    return as_said(rollups.count(end - timedelta(days=60), end)), as_said(found)


def counter(name: str) -> int:
    return Counter.objects.filter(name=name).values_list("value", flat=True).first() or 0


def segment_of(numbers: range) -> Path:
    """A journal segment whose owner is gone."""
    own = journal.mine()
    for number in numbers:
        own.append(numbered(number))
    segment = own.segment
    assert segment is not None
    journal.close()
    return segment


def in_thread(work: Callable[[], object]) -> object:
    try:
        return work()
    finally:
        connection.close()


@contextmanager
def forbidden(words: str) -> Iterator[None]:
    """No statement may change the log with these words."""

    def look(execute: Callable[..., object], sql: str, *rest: object) -> object:
        assert f'{words} "tracking_requestlog"' not in sql
        return execute(sql, *rest)

    with connection.execute_wrapper(look):
        yield


@contextmanager
def reading() -> Iterator[None]:
    """Somebody reads the log for a long time."""
    with transaction.atomic():
        RequestLog.objects.first()
        yield


def shape() -> object:
    return (
        run("SELECT indexname FROM pg_indexes WHERE tablename = 'tracking_requestlog' ORDER BY 1"),
        run(
            "SELECT column_name, data_type, is_nullable, column_default, is_identity"
            " FROM information_schema.columns WHERE table_name = 'tracking_requestlog' ORDER BY 1"
        ),
        run(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'tracking_requestlog'::regclass ORDER BY 1"
        ),
        run(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants"
            " WHERE table_name = 'tracking_requestlog' AND grantee = 'dashboard'"
        ),
    )


@on_postgresql
def test_a_partition_ends_when_it_is_a_tenth_as_old_as_what_is_kept_and_not_too_small() -> None:
    recorded(45, 40, 39, 38, 37, 36, 35)
    retention.renew(timezone.now())  # nothing new has come: no further one begins
    retention.renew(timezone.now())
    assert parts() == [[45, 40], [39, 38, 37, 36], [35]]
    assert list(RequestLog.objects.order_by("pk").values_list("pk", flat=True))[:3] == [
        *(1, 2),
        2 * partitions.WIDTH,
    ]


@on_postgresql
def test_old_partitions_go_whole_and_counts_by_the_hour_stay_right() -> None:
    recorded(45, 40, 39, 37, 36, 34, 33, 31, 28, 25, 1)
    rollups.renew()
    assert parts() == [[45, 40], [39, 37, 36], [34, 33, 31], [28, 25], [1]]
    with forbidden("DELETE FROM"):
        tasks.forget_old_requests.call_local()
    assert parts() == [[28, 25], [1]]
    said, found = counted()
    assert said == found


@on_postgresql
def test_a_partition_that_is_partly_old_is_waited_for_if_it_is_large_and_not_for_long() -> None:
    recorded(36, 33, 32, 31, 28, 27)
    assert parts() == [[36, 33], [32, 31, 28], [27]]
    assert retention.forget(timezone.now()) == 2
    assert parts() == [[32, 31, 28], [27]]
    assert retention.forget(timezone.now() + timedelta(days=1.5)) == 1
    assert parts() == [[31, 28], [27]]


@on_postgresql
def test_a_partition_in_use_is_dropped_later() -> None:
    recorded(45, 40, 1)
    with ThreadPoolExecutor(1) as pool, reading():
        assert pool.submit(in_thread, lambda: retention.forget(timezone.now(), 0.3)).result() == 0
    assert retention.forget(timezone.now()) == 2
    assert parts() == [[1]]


@on_postgresql
def test_recording_makes_the_partition_it_needs() -> None:
    run("ALTER TABLE tracking_requestlog ALTER COLUMN id RESTART WITH 123456789")
    own = journal.mine()
    for number in range(3):
        own.append(numbered(number))
    assert drainer.drain() == 3
    assert RequestLog.objects.count() == 3
    assert counter(recorder.DAMAGED) == 0


@on_postgresql
def test_a_role_that_may_not_make_partitions_loses_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("ALTER TABLE tracking_requestlog ALTER COLUMN id RESTART WITH 123456789")
    journal.mine().append(numbered(1))
    with monkeypatch.context() as refused:
        refused.setattr(partitions, "_make", Mock(side_effect=ProgrammingError("permission")))
        with pytest.raises(DatabaseError):
            drainer.drain()
        tasks.forget_old_requests.call_local()  # says so in the log, and does what it can
    assert drainer.drain() == 1


@on_postgresql
def test_the_migration_keeps_rows_numbers_indexes_and_rights_both_ways_and_goes_on_where_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("CREATE ROLE dashboard")
    try:
        run("GRANT SELECT ON tracking_requestlog TO dashboard")
        recorded(45, 40, 3, 2, 1)
        before, rows = shape(), list(RequestLog.objects.order_by("pk").values())
        migrate("unite")
        assert shape() == before
        assert list(RequestLog.objects.order_by("pk").values()) == rows
        retention.renew(timezone.now())  # of use to nobody before the migration, but no error
        assert retention.forget(timezone.now()) == 2
        rows = rows[2:]
        module = import_module("tracking.migrations.0010_partitions")
        with monkeypatch.context() as killed:
            killed.setattr(module, "_wrap", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                migrate("divide")
        row(0)
        migrate("divide")
        migrate("divide")
        assert shape() == before
        assert [len(part) for part in parts()] == [4]
        row(0)
        numbers = RequestLog.objects.order_by("-pk").values_list("pk", flat=True)
        assert numbers[0] == numbers[1] + 1
    finally:
        run("DROP OWNED BY dashboard")
        run("DROP ROLE dashboard")


def test_of_too_many_requests_the_newest_stay(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "FEW", 1000)
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    settings.TRACKING_LOG_MAX_ROWS = 4
    rows = [row(1) for _ in range(11)]
    RequestLog.objects.filter(pk=rows[8].pk).delete()  # a number nobody has counts, too
    assert retention.forget(timezone.now()) == 7
    assert [one.pk for one in RequestLog.objects.order_by("pk")] == [rows[n].pk for n in (7, 9, 10)]
    assert retention.forget(timezone.now()) == 0
    said, found = counted()
    assert said == found


@on_postgresql
def test_of_too_many_requests_whole_partitions_go(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    settings.TRACKING_LOG_MAX_ROWS = 5
    recorded(*[1] * 11)
    assert parts() == [[1] * 3] * 3 + [[1] * 2]
    with forbidden("DELETE FROM"):
        assert retention.forget(timezone.now()) == 6
    assert parts() == [[1] * 3, [1] * 2]


def test_what_takes_long_is_done_in_smaller_parts_and_by_several_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(12):
        row(60)
    monkeypatch.setattr(retention, "BATCH_ROWS", 8)
    monkeypatch.setattr(retention, "FEWEST_ROWS", 1)
    monkeypatch.setattr(retention, "LONGEST_BATCH", 0)
    deleted: list[int] = []
    delete = retention.Batches.delete

    def noted(self: retention.Batches, rows: object) -> int:
        deleted.append(delete(self, rows))  # type: ignore[arg-type]
        self._deadline = 0 if len(deleted) == 2 else self._deadline
        return deleted[-1]

    monkeypatch.setattr(retention.Batches, "delete", noted)
    assert retention.forget(timezone.now()) == 12
    assert retention.forget(timezone.now()) == 0
    assert deleted == [8, 4]


def test_nodes_that_record_at_once_number_rows_so_that_nobody_who_follows_misses_one() -> None:
    segments = [segment_of(range(node * 100, node * 100 + 40)) for node in range(4)]
    seen: list[str] = []
    done = threading.Event()

    def follow() -> None:
        last, is_over = 0, False
        while not is_over:
            is_over = done.is_set()
            rows = RequestLog.objects.filter(pk__gt=last).order_by("pk")
            found = list(rows.values_list("pk", "request_id"))
            seen.extend(request_id for _, request_id in found)
            last = found[-1][0] if found else last

    def record(segment: Path) -> None:
        while drainer.drain_segment(segment, 2000):
            pass

    with ThreadPoolExecutor(5) as pool:
        following = pool.submit(in_thread, follow)
        try:
            list(pool.map(lambda segment: in_thread(lambda: record(segment)), segments))
        finally:
            done.set()
        following.result()
    assert sorted(int(text, 16) for text in seen) == [
        node * 100 + number for node in range(4) for number in range(40)
    ]
