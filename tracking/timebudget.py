"""A bound on the time that the database spends on one question.

PostgreSQL ends a statement itself (`statement_timeout`). SQLite asks a progress handler now and
then whether to go on. Either way the connection can be used again at once. Of a question that takes
many statements, no further one begins when the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

STEPS_BETWEEN_LOOKS = 4000  # of SQLite's virtual machine: some tens of microseconds
CANCELLED = "57014"  # PostgreSQL's SQLSTATE query_canceled


class OutOfTime(Exception):
    """The database was stopped because the time allowed for the question was used up."""


class TimeBudget:
    """Seconds that one question may spend in the database, over all of its queries."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self._deadline = float("inf")  # of the block that is spending

    def look(self) -> None:
        """Raise OutOfTime if the block is over its time: for what it does with the rows it fetches.

        PostgreSQL bounds each fetch from a cursor, not all of them together.
        """
        if time.monotonic() > self._deadline:
            raise OutOfTime

    @contextmanager
    def spending(
        self, at_most: float = float("inf"), using: str = DEFAULT_DB_ALIAS
    ) -> Iterator[None]:
        """Run the block's queries, which must fetch their rows inside it.

        Raises OutOfTime when they take longer than what is left, or work longer than `at_most`
        seconds. SQLite works in this thread, so there that is its CPU time, and other load on the
        machine does not change what can be answered.
        """
        if min(self.left, at_most) <= 0:
            raise OutOfTime
        started = time.monotonic()
        outer, self._deadline = self._deadline, started + self.left
        try:
            connection = connections[using]
            with (
                _stopping_after(self.left, at_most, connection),
                connection.execute_wrapper(self._nothing_after),
            ):
                yield
        finally:
            self.left -= time.monotonic() - started
            self._deadline = outer

    def _nothing_after(self, execute: Callable[..., Any], *statement: Any) -> Any:
        self.look()
        return execute(*statement)


@contextmanager
def _stopping_after(left: float, at_most: float, connection: BaseDatabaseWrapper) -> Iterator[None]:
    if connection.vendor == "postgresql":
        with _statement_timeout(min(left, at_most), connection):
            yield
    else:
        with _progress_handler(left, at_most, connection):
            yield


@contextmanager
def _statement_timeout(seconds: float, connection: BaseDatabaseWrapper) -> Iterator[None]:
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1000))}")
            yield
            # Inside a longer transaction the setting would otherwise outlive this block.
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == CANCELLED:
            raise OutOfTime from error
        raise


@contextmanager
def _progress_handler(
    left: float, at_most: float, connection: BaseDatabaseWrapper
) -> Iterator[None]:
    connection.ensure_connection()
    raw: Any = connection.connection  # Django offers no way to set the handler
    deadline, enough = time.monotonic() + left, time.thread_time() + at_most
    stopped = False

    def look() -> bool:
        nonlocal stopped
        stopped = time.monotonic() > deadline or time.thread_time() > enough
        return stopped

    raw.set_progress_handler(look, STEPS_BETWEEN_LOOKS)
    try:
        yield
    except OperationalError as error:
        if stopped:
            raise OutOfTime from error
        raise
    finally:
        raw.set_progress_handler(None, 0)
