"""A bound on the time the database spends: it stops, and leaves the connection clean."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError, ProgrammingError, connection, transaction

from tracking.timebudget import OutOfTime, TimeBudget

SLOW = {
    "sqlite": """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000)
                 SELECT COUNT(*) FROM n""",
    "postgresql": "SELECT pg_sleep(60)",
}


def run(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def slow() -> object:
    return run(SLOW[connection.vendor])


@pytest.mark.django_db(transaction=True)
def test_a_slow_query_ends_in_time_and_the_next_one_runs() -> None:
    started = time.monotonic()
    with pytest.raises(OutOfTime), TimeBudget(0.2).spending():
        slow()
    assert 0.15 < time.monotonic() - started < 3
    assert not connection.in_atomic_block
    assert run("SELECT 1") == 1
    with TimeBudget(10).spending():
        assert run("SELECT 2") == 2
    if connection.vendor == "postgresql":
        assert run("SHOW statement_timeout") == "0"


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_the_bound_ends_with_the_block() -> None:
    with transaction.atomic():
        with TimeBudget(0.05).spending():
            assert run("SELECT 1") == 1
        time.sleep(0.1)
        with pytest.raises(OutOfTime), TimeBudget(0.05).spending():
            slow()
        if connection.vendor == "postgresql":
            assert run("SHOW statement_timeout") == "0"
        assert run("SELECT 3") == 3


@pytest.mark.django_db(transaction=True)
def test_queries_after_the_block_are_not_stopped() -> None:
    with TimeBudget(0.05).spending():
        pass
    time.sleep(0.1)
    assert run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
               " SELECT COUNT(*) FROM n") == 100_000  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sql", ["SELECT nonsense FROM nowhere", "SELECT ("])
def test_other_errors_stay_what_they_are(sql: str) -> None:
    with pytest.raises((OperationalError, ProgrammingError)), TimeBudget(5).spending():
        run(sql)
    assert run("SELECT 1") == 1


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_block_itself_passes_through() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError), TimeBudget(5).spending():
        fail()
    assert run("SELECT 1") == 1


@pytest.mark.django_db(transaction=True)
def test_a_budget_is_shared_by_its_blocks_and_cannot_be_overdrawn() -> None:
    budget = TimeBudget(0.2)
    with budget.spending():
        time.sleep(0.15)
    started = time.monotonic()
    with pytest.raises(OutOfTime), budget.spending():
        slow()
    assert time.monotonic() - started < 1.5
    with pytest.raises(OutOfTime), budget.spending():
        run("SELECT 1")


@pytest.mark.django_db(transaction=True)
def test_a_block_can_be_given_less_than_is_left() -> None:
    budget = TimeBudget(30)
    started = time.monotonic()
    with pytest.raises(OutOfTime), budget.spending(at_most=0.05):
        slow()
    assert time.monotonic() - started < 3
    assert budget.left > 20
    with budget.spending():
        assert run("SELECT 1") == 1


@pytest.mark.django_db(transaction=True)
def test_many_short_statements_share_the_time() -> None:
    done = 0

    def answer_slowly() -> None:
        nonlocal done
        with transaction.atomic(), TimeBudget(0.1).spending():
            for done in range(1000):  # noqa: B007
                time.sleep(0.01)
                with transaction.atomic():
                    run("SELECT 1")

    with pytest.raises(OutOfTime):
        answer_slowly()
    assert 0 < done < 20
    assert not connection.in_atomic_block
    assert run("SELECT 2") == 2
