"""How the service connects to its database."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.utils import ConnectionHandler

from project.stores import database

URL = os.environ.get("TEST_DATABASE_URL", "")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's own")
@pytest.mark.django_db
def test_with_a_pool_many_threads_share_a_few_connections_which_come_back_when_they_were_cut() -> (
    None
):
    handler = ConnectionHandler({"default": database(f"{URL}?pool=2")})
    together = threading.Barrier(6)

    def ask(_: int) -> int:
        together.wait()
        try:
            with handler["default"].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.01), pg_backend_pid()")
                return int(cursor.fetchone()[1])
        finally:
            handler["default"].close()

    with ThreadPoolExecutor(6) as pool:
        serving = set(pool.map(ask, range(6)))
        assert 1 <= len(serving) <= 2
        with connection.cursor() as cursor:
            for pid in serving:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert serving.isdisjoint(pool.map(ask, range(6)))
    handler["default"].close_pool()
