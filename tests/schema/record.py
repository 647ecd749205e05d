"""Rows to ask about, and the way to ask: over HTTP, as a front end does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tracking.models import RequestLog
from users.models import User

NOON = datetime(2026, 5, 17, 12, 0, 0, tzinfo=UTC)


def row(at: datetime | float = NOON, **columns: Any) -> RequestLog:
    """Return an unsaved request; `at` may be seconds after noon."""
    moment = at if isinstance(at, datetime) else NOON + timedelta(seconds=at)
    facts: dict[str, Any] = {
        "address": "192.0.2.1",
        "counting_key": "192.0.2.1",
        "method": "GET",
        "host": "example.org",
        "path": "/",
        "normal_path": "/",
        "status": 200,
        "duration_ms": 1.5,
        "request_id": "0" * 32,
        "verdict": "ALLOWED",
    }
    return RequestLog(at=moment, **(facts | columns))


def record(*rows: RequestLog) -> list[RequestLog]:
    return RequestLog.objects.bulk_create(rows)


def reader() -> Client:
    """Return a client whose user may read the record."""
    user = User.objects.create_user("reader")
    user.user_permissions.add(Permission.objects.get(codename="view_requestlog"))
    client = Client()
    client.force_login(user)
    return client


def ask(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    """Return the whole answer to a query."""
    response = client.post(
        "/graphql/",
        json.dumps({"query": query, "variables": variables}),
        content_type="application/json",
    )
    answer: dict[str, Any] = response.json()
    return answer


def told(client: Client, query: str, **variables: Any) -> Any:
    """Return the data of a query that must succeed."""
    answer = ask(client, query, **variables)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def refused(client: Client, query: str, **variables: Any) -> tuple[str, str]:
    """Return the code and message of a query that must fail."""
    answer = ask(client, query, **variables)
    assert len(answer["errors"]) == 1, answer
    error = answer["errors"][0]
    for python in ("Traceback", "Error(", "NoneType", "object at 0x", "invalid literal"):
        assert python not in error["message"]
    assert not any((answer.get("data") or {}).values())
    return error["extensions"]["code"], error["message"]


def statements(client: Client, query: str, **variables: Any) -> list[str]:
    """Return the SQL that a query sends to the record."""
    with CaptureQueriesContext(connection) as captured:
        told(client, query, **variables)
    table = RequestLog._meta.db_table
    return [query["sql"] for query in captured.captured_queries if table in query["sql"]]


def plan_of(sql: str) -> str:
    """Return how the database would run a statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            ("EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN ") + sql
        )
        return "\n".join(str(line[-1]) for line in cursor.fetchall())
