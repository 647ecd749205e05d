"""Probes: answered first, honest about what fails, and silent towards strangers."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from project import health
from tracking import drainer, journal
from tracking.health import HEARTBEAT
from tracking.models import Counter
from tracking.tasks import beat

STRANGER = "198.51.100.7"


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a start: nothing has looked at the migrations yet."""
    monkeypatch.setattr(health, "_migrated", False)


def checks(response: HttpResponse) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in json.loads(response.content)["checks"]}


def test_live_needs_no_database(client: Client) -> None:
    response = client.get("/livez", HTTP_HOST="10.1.2.3:8000")

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}
    assert response["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_ready_when_the_worker_has_just_beaten(client: Client) -> None:
    beat.call_local()

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert checks(response) == {"database": True, "journal": True, "worker": True, "places": False}


@pytest.mark.django_db
def test_not_ready_before_a_worker_came(client: Client) -> None:
    response = client.get("/readyz")

    assert response.status_code == 503
    assert checks(response)["worker"] is False


@pytest.mark.django_db
@pytest.mark.parametrize(("seconds", "status"), [(170, 200), (190, 503)])
def test_a_worker_silent_for_three_minutes_is_not_ready(
    client: Client, seconds: int, status: int
) -> None:
    Counter.objects.create(name=HEARTBEAT, updated_at=timezone.now() - timedelta(seconds=seconds))

    assert client.get("/readyz").status_code == status


@pytest.mark.django_db
def test_a_journal_half_full_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    beat.call_local()
    settings.TRACKING_JOURNAL_TOTAL_BYTES = 8192
    monkeypatch.setattr(drainer, "backlog", lambda: 4097)

    response = client.get("/readyz")

    assert response.status_code == 503
    assert checks(response)["journal"] is False


@pytest.mark.django_db
def test_missing_migrations_are_told(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tracking'")

    response = client.get("/readyz")

    assert response.status_code == 503
    assert "manage.py migrate" in response.content.decode()


def test_a_database_that_is_away_is_told_without_its_address(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("connection to server at db.internal failed: password")

    monkeypatch.setattr(connection, "cursor", refuse)
    client.cookies["sessionid"] = "x" * 32

    response = client.get("/readyz")

    assert response.status_code == 503
    assert checks(response) == {"database": False, "places": False}
    assert "internal" not in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("peer", "headers", "told"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", {"X-Real-IP": ""}, False),
        ("10.0.0.5", {}, True),
        ("10.0.0.5", {"X-Forwarded-For": STRANGER}, False),
        ("10.0.1.5", {}, False),
        (STRANGER, {}, False),
        (STRANGER, {"X-Forwarded-For": "127.0.0.1"}, False),
        ("", {}, False),
        ("unix:", {}, False),
    ],
)
def test_details_are_for_trusted_peers_that_speak_for_themselves(
    client: Client, settings: Settings, peer: str, headers: dict[str, str], told: bool
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/24"]
    beat.call_local()

    response = client.get("/readyz", headers=headers, REMOTE_ADDR=peer)

    assert response.status_code == 200
    assert ("checks" in response.json()) is told


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("staff", "active", "told"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_details_are_for_staff_from_anywhere(
    client: Client, staff: bool, active: bool, told: bool
) -> None:
    user = get_user_model().objects.create_user("operator", is_staff=staff)
    client.force_login(user)
    get_user_model().objects.update(is_active=active)

    assert ("checks" in client.get("/readyz", REMOTE_ADDR=STRANGER).json()) is told


@pytest.mark.django_db
@pytest.mark.parametrize("cookie", ["", "x", "nobody-has-this-session-key-1234", "a\x00b" * 20])
def test_a_forged_session_tells_nothing(client: Client, cookie: str) -> None:
    client.cookies["sessionid"] = cookie

    response = client.get("/readyz", REMOTE_ADDR=STRANGER)

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable"}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_are_only_read(client: Client, path: str) -> None:
    response = client.post(path)

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


def test_a_head_request_has_no_body(client: Client) -> None:
    assert client.head("/livez").status_code == 200
    assert client.head("/livez").content == b""


@pytest.mark.parametrize("path", ["/livez/", "//livez", "/LIVEZ", "/livez/x"])
def test_only_the_exact_path_is_a_probe(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_probes_are_not_on_record(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        pytest.fail("a probe reached the journal")

    monkeypatch.setattr(journal, "mine", fail)

    assert client.get("/livez").status_code == 200
    assert not client.get("/livez").has_header("X-Request-ID")


@pytest.mark.django_db(transaction=True)
def test_asgi_gives_the_same_answers() -> None:
    async def ask() -> list[HttpResponse]:
        client = AsyncClient()
        return [
            await client.get("/livez"),
            await client.get("/readyz"),
            await client.post("/livez"),
        ]

    beat.call_local()
    live, ready, posted = asyncio.run(ask())

    assert (live.status_code, ready.status_code, posted.status_code) == (200, 200, 405)
    assert checks(ready)["database"] is True


@pytest.mark.django_db
def test_the_worker_beats_each_minute_on_one_row() -> None:
    beat.call_local()
    first = Counter.objects.get(name=HEARTBEAT).updated_at
    beat.call_local()

    assert Counter.objects.get(name=HEARTBEAT).updated_at > first
