"""`/metrics`: right in numbers, bounded in cost, silent to strangers, and without addresses."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries, Settings

from project import metrics, vitals, workers
from tests.schema.book import rule
from tests.tracking.records import numbered
from tracking import background, drainer, journal, limiter, policy, recorder
from tracking.models import AccessRule, Counter, DetectionRun, RequestLog
from tracking.tasks import beat
from tracking.timebudget import OutOfTime

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
STRANGER = "198.51.100.7"
TOKEN = "0123456789abcdefghijABCDEFGHIJ-_~+"
LABELS = {
    "verdict", "status", "limit", "outcome", "le", "file", "action", "kind", "observed",
    "version", "python", "django", "store",
}  # fmt: skip


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.TRACKING_STATE_DIR = tmp_path
    monkeypatch.setattr(vitals, "_count_rules_at", 0.0)
    journal.close()
    limiter._memory.clear()
    yield
    limiter._memory.clear()


def ask(address: str = "127.0.0.1", **headers: str) -> HttpResponse:
    return Client(REMOTE_ADDR=address).get("/metrics", headers=headers)


def sample(name: str, **labels: str) -> float | None:
    """Return the one number that is told under a name and these labels, None if there is none."""
    families = text_string_to_metric_families(ask().content.decode())
    found = [
        one.value
        for family in families
        for one in family.samples
        if one.name == name and one.labels == labels
    ]
    assert len(found) < 2
    return found[0] if found else None


def requests(verdict: str, status: str) -> float:
    number = sample("tracking_requests_total", verdict=verdict, status=status)
    assert number is not None
    return number


@pytest.mark.one_store
@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.5", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 404),
        (STRANGER, {}, 404),
        (STRANGER, {"X-Forwarded-For": "127.0.0.1"}, 404),
        (STRANGER, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("127.0.0.1", {"X-Forwarded-For": STRANGER, "Authorization": f"Bearer {TOKEN}"}, 200),
        (STRANGER, {"Authorization": f"Bearer {TOKEN[:-1]}"}, 404),
        (STRANGER, {"Authorization": TOKEN}, 404),
        (STRANGER, {"Authorization": "Bearer "}, 404),
        (STRANGER, {"Authorization": f"Bearer {TOKEN}\xe9"}, 404),
        ("", {}, 404),
    ],
)
def test_metrics_are_for_trusted_peers_and_who_has_the_token(
    settings: Settings, peer: str, headers: dict[str, str], status: int
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/24"]
    settings.METRICS_TOKEN = TOKEN

    answer = ask(peer, **headers)

    assert answer.status_code == status
    assert (b"tracking_" in answer.content) is (status == 200)
    drainer.drain()  # who may not ask is on record, who may is not
    assert RequestLog.objects.count() == (status != 200)


def test_without_a_token_an_empty_one_opens_nothing() -> None:
    assert ask(STRANGER, Authorization="Bearer ").status_code == 404
    assert ask(STRANGER, Authorization="").status_code == 404


@pytest.mark.one_store
def test_metrics_are_only_read_and_never_kept() -> None:
    assert Client().post("/metrics").status_code == 405
    assert ask()["Cache-Control"] == "no-store"
    assert ask(Accept="application/openmetrics-text; version=1.0.0")["Content-Type"].startswith(
        "application/openmetrics-text"
    )
    assert Client().get("/metrics/").status_code == 404


def test_requests_are_counted_by_verdict_and_status_and_limits_by_name(settings: Settings) -> None:
    rule(STRANGER)
    settings.TRACKING_LIMITS = {"graphql": {"all": "1/m"}}
    outcomes = [("BLOCKED", "4xx"), ("LIMITED", "4xx"), ("ALLOWED", "4xx"), ("ALLOWED", "2xx")]
    before = [requests(*outcome) for outcome in outcomes]
    limited = sample("tracking_requests_limited_total", limit="graphql") or 0
    decisions = sample("tracking_decision_seconds_count") or 0

    Client(REMOTE_ADDR=STRANGER).get("/livelong")
    for _ in range(3):
        Client().post("/graphql/", {"query": "{ __typename }"}, "application/json")
    Client().get("/nowhere")
    Client().get("/livez")

    after = [requests(*outcome) for outcome in outcomes]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 2, 1, 1]
    assert sample("tracking_requests_limited_total", limit="graphql") == limited + 2
    assert sample("tracking_decision_seconds_count") == decisions + 5


def test_attempts_to_log_in_are_counted_by_outcome() -> None:
    failed = sample("tracking_login_attempts_total", outcome="FAILED") or 0
    body = {"username": "ada", "password": "guessed-198.51.100.7"}

    Client(REMOTE_ADDR=STRANGER).post("/api/login/", body, "application/json")

    assert sample("tracking_login_attempts_total", outcome="FAILED") == failed + 1


def test_no_label_tells_of_a_client_a_path_or_a_user() -> None:
    rule(STRANGER)
    Client(REMOTE_ADDR=STRANGER, HTTP_USER_AGENT="secret-agent").get("/secret-path?secret=query")
    body = {"username": "secret-user", "password": "secret"}
    Client(REMOTE_ADDR="203.0.113.9").post("/api/login/", body, "application/json")

    text = ask().content.decode()

    families = list(text_string_to_metric_families(text))
    assert {
        label for family in families for one in family.samples for label in one.labels
    } <= LABELS
    assert not re.search(r"secret|198\.51|203\.0|127\.0", text)


def test_the_database_and_the_journal_tell_how_it_is() -> None:
    now = timezone.now()
    beat.call_local()
    rule("203.0.113.0/24")
    rule("DE", observed=True)
    recorder.count(recorder.DROPPED, 7)
    recorder.count(recorder.DAMAGED, 2)
    for number in range(3):
        journal.mine().append(numbered(number))
    run = DetectionRun(started_at=now - timedelta(seconds=90), duration_ms=250, findings=4)
    run.now, run.after_row, run.upto_row = now, 0, 0
    run.save()

    assert sample("tracking_journal_segments") == 1
    assert sample("tracking_journal_backlog_bytes") == drainer.backlog() > 0
    drainer.drain()
    assert sample("tracking_journal_backlog_bytes") == 0
    assert sample("tracking_database_up") == 1
    assert sample("tracking_rules", action="BLOCK", kind="NETWORK", observed="false") == 1
    assert sample("tracking_rules", action="BLOCK", kind="COUNTRY", observed="true") == 1
    assert sample("tracking_rules_version_in_database") == 2
    assert sample("tracking_journal_dropped_records_total") == 7
    assert sample("tracking_journal_damaged_records_total") == 2
    assert (sample("tracking_detection_backlog_rows") or 0) >= 3  # numbers of rows have gaps
    assert sample("tracking_detection_last_run_findings") == 4
    assert sample("tracking_detection_last_run_duration_seconds") == 0.25
    assert 90 <= (sample("tracking_detection_last_run_age_seconds") or 0) < 150
    assert 0 <= (sample("tracking_worker_heartbeat_age_seconds") or 0) < 60


def test_a_process_tells_its_version_of_the_rules_once_it_follows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sample("tracking_rules_version") is None
    monkeypatch.setattr(background, "is_running", lambda: True)
    assert sample("tracking_rules_version") == policy.version()


def test_a_scrape_asks_the_same_few_questions_however_much_there_is(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    facts = {"kind": "ADDRESS", "action": "BLOCK", "version": 1, "created_by": "tests"}
    rows = [
        AccessRule(target=f"10.{n >> 8}.{n & 255}.1", created_at=timezone.now(), **facts)
        for n in range(500)
    ]
    AccessRule.objects.bulk_create(rows)
    ask()  # the rules are counted, for a minute

    with django_assert_max_num_queries(12) as asked:
        ask()

    statements = " ".join(query["sql"] for query in asked.captured_queries)
    assert "COUNT(" not in statements.upper()


@pytest.mark.parametrize("error", [OperationalError("no"), OutOfTime()])
def test_a_database_that_is_away_is_told_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(vitals, "of_the_database", refuse)

    assert sample("tracking_database_up") == 0
    assert sample("tracking_journal_backlog_bytes") is None
    assert requests("ALLOWED", "2xx") >= 0


@pytest.mark.one_store
def test_while_one_scrape_waits_for_the_database_another_does_not() -> None:
    with vitals._asking:
        answer = ask().content.decode()

    assert "tracking_requests_total" in answer
    assert "tracking_database_up" not in answer


@pytest.mark.django_db(transaction=True)
def test_asgi_answers_and_counts_alike() -> None:
    async def use() -> list[HttpResponse]:
        client = AsyncClient()
        return [await client.get(path) for path in ("/nowhere", "/metrics")]

    before = requests("ALLOWED", "4xx")
    lost, answer = asyncio.run(use())

    assert (lost.status_code, answer.status_code) == (404, 200)
    assert requests("ALLOWED", "4xx") == before + 1


COUNT = """
import os, sys
from pathlib import Path
from project import workers
workers.share_counts(Path(sys.argv[1]))
from prometheus_client import CollectorRegistry, Counter
counter = Counter("tracking_requests", "Requests", ["status"], registry=CollectorRegistry())
workers.number = int(sys.argv[2])
for _ in range(int(sys.argv[3])):
    counter.labels("2xx").inc()
os.kill(os.getpid(), 9)
"""


@pytest.mark.one_store
def test_what_killed_processes_have_counted_stays_in_as_many_files_as_there_are_workers(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "metrics"
    for number, times in [(0, 3), (1, 4), (0, 2)]:
        command = [sys.executable, "-c", COUNT, str(folder), str(number), str(times)]
        subprocess.run(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=False)

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    assert registry.get_sample_value("tracking_requests_total", {"status": "2xx"}) == 9
    numbers = {file.stem.rpartition("_")[2] for file in folder.glob("*.db")}
    assert {"0", "1"} <= numbers <= {"0", "1", "-1"}

    workers.forget_counts(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.one_store
def test_on_a_full_disk_each_process_counts_for_itself_instead_of_being_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Mock(free=workers.LEAST_FREE - 1))

    workers.share_counts(tmp_path / "metrics")
    workers.forget_counts(tmp_path / "metrics")

    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    assert not metrics.is_shared()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_store
def test_a_new_worker_gets_the_number_of_a_dead_one() -> None:
    assert [workers.lowest_free(taken) for taken in ([], [0, 1], [0, 2], [1, 2, 3])] == [0, 2, 1, 0]


@pytest.mark.one_store
def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    Counter.objects.update_or_create(name="huey.heartbeat")
    names = set(re.findall(r"^# TYPE (\S+)", ask().content.decode(), re.MULTILINE))

    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in page] == []
