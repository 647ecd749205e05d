"""What fails outside of every view is answered in the form of its door."""

from __future__ import annotations

from typing import NoReturn

import pytest
from django.db import OperationalError
from django.test import Client

from users import tokens

QUESTION = {"data": {"query": "{ me { username } }"}, "content_type": "application/json"}
TOKEN = {"authorization": "Bearer x"}

pytestmark = [pytest.mark.django_db, pytest.mark.one_store]


@pytest.fixture(params=[OperationalError("it is away"), RuntimeError("a secret")])
def failure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """Whoever sends a token cannot be looked up."""

    def fail(_: str) -> NoReturn:
        raise request.param

    monkeypatch.setattr(tokens, "read_access", fail)
    monkeypatch.setattr("tracking.guard.limits_by_path", lambda _: ("graphql",))
    error: Exception = request.param
    return error


def is_away(failure: Exception) -> bool:
    return isinstance(failure, OperationalError)


def test_graphql_answers_in_json_with_a_reference(failure: Exception) -> None:
    client = Client(raise_request_exception=False)
    answer = client.post("/graphql/", headers=TOKEN, **QUESTION)
    (error,) = answer.json()["errors"]
    assert answer.status_code == (503 if is_away(failure) else 500)
    assert answer.headers.get("Retry-After") == ("5" if is_away(failure) else None)
    assert error["extensions"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "reference": answer["X-Request-ID"],
    }
    assert "secret" not in answer.text


def test_rest_answers_with_a_problem(failure: Exception) -> None:
    answer = Client(raise_request_exception=False).post("/api/logout", headers=TOKEN)
    assert answer.status_code == (503 if is_away(failure) else 500)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "INTERNAL_SERVER_ERROR"
    assert answer["X-Request-ID"] in answer.json()["detail"]


def test_pages_answer_with_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking.guard.limits_by_path", lambda _: 1 / 0)
    answer = Client(raise_request_exception=False).get("/admin/")
    assert answer.status_code == 500
    assert answer["Content-Type"].startswith("text/html")
