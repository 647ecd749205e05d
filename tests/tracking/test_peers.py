"""A proxy that nobody told of is noticed from the record, and nothing else is taken for one."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.schema.record import record, row
from tracking import drainer, peers, tasks
from tracking.models import RequestLog
from users.models import User

pytestmark = pytest.mark.django_db

MANY = peers.ENOUGH * 2
HEADER = "untrusted_forwarding"


def came(number: int, age: float = 60, **facts: Any) -> None:
    """Put this many requests on record."""
    at = timezone.now() - timedelta(seconds=age)
    record(*(row(at + timedelta(milliseconds=each), **facts) for each in range(number)))


def problem() -> str:
    return peers.problem(timezone.now())


def warned() -> bool:
    return "tracking.W009" in {message.id for message in run_checks(databases=["default"])}


@pytest.mark.django_db(transaction=True)
def test_a_header_from_a_peer_nobody_trusts_is_on_record(settings: Settings) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    for peer, header in (
        ("172.17.0.1", "192.0.2.1"),
        ("172.17.0.1", None),
        ("10.0.0.1", "1.1.1.1"),
    ):
        headers = {"x-forwarded-for": header} if header else {}
        Client().get("/", headers=headers, REMOTE_ADDR=peer)
    drainer.drain()
    rows = RequestLog.objects.order_by("at").values_list("address", "tags")
    assert list(rows) == [("172.17.0.1", (HEADER,)), ("172.17.0.1", ()), ("1.1.1.1", ())]


def test_nothing_is_said_of_a_site_that_strangers_reach_directly() -> None:
    for number in range(MANY):
        came(1, address=f"64.1.1.{number}", tags=HEADER if number % 3 == 0 else "")
    assert problem() == ""
    assert not warned()


@pytest.mark.parametrize("address", ["10.0.0.7", "172.17.0.1", "127.0.0.1", "8.8.8.8", "fd00::1"])
def test_a_proxy_whose_header_is_not_believed_is_told_by_its_address(address: str) -> None:
    came(MANY, address=address, tags=HEADER)
    assert address in problem()
    assert "TRACKING_TRUSTED_PROXIES" in problem()
    assert warned()


def test_several_proxies_are_told_together() -> None:
    for number in range(3):
        came(MANY, address=f"10.0.0.{number}", tags=HEADER)
    for number in range(3):
        assert f"10.0.0.{number}" in problem()


def test_many_clients_that_forge_the_header_are_no_proxies() -> None:
    for number in range(MANY):
        came(1, address=f"64.1.1.{number}", tags=HEADER)
    assert problem() == ""


def test_everything_from_one_private_address_is_told(settings: Settings) -> None:
    came(MANY, address="172.17.0.1")
    assert "came from 172.17.0.1" in problem()
    came(1, age=1, address="64.1.1.1")
    assert problem() == ""


@pytest.mark.parametrize(("debug", "told"), [(True, False), (False, True)])
def test_a_developer_alone_on_his_machine_is_left_in_peace(
    settings: Settings, debug: bool, told: bool
) -> None:
    settings.DEBUG = debug
    came(MANY, address="127.0.0.1")
    assert bool(problem()) == told


@pytest.mark.parametrize(
    "facts",
    [{"number": peers.ENOUGH - 1}, {"age": 7200}, {"source": "nginx"}, {"address": "8.8.8.8"}],
)
def test_few_old_and_read_requests_say_nothing(facts: dict[str, Any]) -> None:
    came(**{"number": MANY, "address": "10.0.0.7"} | facts)
    assert problem() == ""


def test_the_worker_and_the_admin_tell_it_too(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    url = "/admin/tracking/blockedip/"
    assert b"TRACKING_TRUSTED_PROXIES" not in client.get(url).content
    with caplog.at_level(logging.WARNING, "tracking.tasks"):
        tasks.look_at_proxies.call_local()
        assert not caplog.records
        came(MANY, address="10.0.0.7", tags=HEADER)
        tasks.look_at_proxies.call_local()
    assert "10.0.0.7" in caplog.text
    assert b"10.0.0.7" in client.get(url).content
