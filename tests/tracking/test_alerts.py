"""Alerts: what is told, to whom, how often, and that nothing told is lost."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from standardwebhooks import Webhook

from tests.tracking.hooks import OTHER_SECRET, SECRET, Receiver, listening
from tests.tracking.records import HARMLESS
from tracking import (
    alerts,
    blocklist,
    conf,
    detection,
    digest,
    drainer,
    journal,
    signals,
    tasks,
    webhooks,
)
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.endpoints import DELAYS
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target, target_of_network
from tracking.models import AccessRule, Counter, Delivery, SuspiciousIP
from tracking.proposals import Proposal

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
Status = Delivery.Status


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.TRACKING_ALERT_NETWORKS = ["127.0.0.0/8"]
    with listening() as receiver:
        settings.TRACKING_ALERT_WEBHOOKS = [f"{receiver.url()} {SECRET}"]
        yield receiver


@pytest.fixture
def mailbox(settings: Settings) -> list[mail.EmailMessage]:
    settings.TRACKING_ALERT_EMAILS = ["ada@example.org"]
    return mail.outbox


def target(text: str) -> Target:
    return target_of_network(parse_network(text))


def proposal(text: str, action: RuleAction = RuleAction.BLOCK, **more: object) -> Proposal:
    return Proposal(target=target(text), action=action, **more)  # type: ignore[arg-type]


def block(text: str, reason: str = "", **more: object) -> AccessRule:
    return blocklist.block(COMMAND_LINE, proposal(text, reason=reason, **more))


def suspicion(text: str = "203.0.113.9", **more: object) -> SuspiciousIP:
    network = parse_network(text)
    facts: dict[str, object] = {
        "target": text,
        "first": str(network[0]),
        "prefix": network.prefixlen,
        "detector": "flood",
        "reason": "140 requests in an hour",
        "severity": "HIGH",
        "count": 140,
        "threshold": 100,
    }
    times = dict.fromkeys(("window_start", "window_end", "first_seen", "last_seen"), NOW)
    return SuspiciousIP.objects.create(**facts | times | more)


def events() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("event", flat=True))


def data(row: Delivery) -> dict[str, object]:
    found: dict[str, object] = json.loads(row.body)["data"]
    return found


def soon() -> datetime:
    """A moment at which what was just written is due."""
    return timezone.now() + timedelta(seconds=1)


# -- What is written


def test_with_nobody_to_tell_nothing_is_written() -> None:
    block("203.0.113.9")
    signals.announce(signals.suspicion_raised, SuspiciousIP, suspicion=suspicion())
    assert events() == []


def test_a_block_made_lifted_and_run_out_is_told(receiver: Receiver) -> None:
    block("203.0.113.9", "too many requests")
    blocklist.lift(COMMAND_LINE, target("203.0.113.9"), RuleAction.BLOCK)
    block("203.0.113.10", expires_at=timezone.now() + timedelta(hours=1))
    blocklist.close_expired(timezone.now() + timedelta(hours=2))

    assert events() == ["block.created", "block.removed", "block.created", "block.expired"]
    made, *_, expired = Delivery.objects.order_by("pk")
    told = data(made)
    assert (told["count"], told["actor"]) == (1, "command line")
    (rule,) = told["rules"]  # type: ignore[misc]
    assert rule["target"] == "203.0.113.9"  # type: ignore[index]
    assert rule["reason"] == "too many requests"  # type: ignore[index]
    assert data(expired)["actor"] is None


def test_what_changes_together_is_one_event_with_a_count(receiver: Receiver) -> None:
    proposals = [proposal(f"203.0.113.{n}") for n in range(50)]
    blocklist.block_many(COMMAND_LINE, proposals)
    blocklist.lift_many(
        COMMAND_LINE, [target("203.0.113.1"), target("203.0.113.2")], RuleAction.BLOCK
    )
    blocklist.lift_all(COMMAND_LINE)

    assert events() == ["block.created", "block.removed", "block.removed"]
    counts = [data(row)["count"] for row in Delivery.objects.order_by("pk")]
    assert counts == [50, 2, 48]
    assert [len(data(row)["rules"]) for row in Delivery.objects.order_by("pk")] == [20, 2, 20]  # type: ignore[arg-type]


def test_rules_that_allow_or_only_observe_are_not_told(receiver: Receiver) -> None:
    blocklist.allow(COMMAND_LINE, proposal("203.0.113.8", RuleAction.ALLOW))
    block("203.0.113.9", observed=True)
    blocklist.lift_all(COMMAND_LINE)
    assert events() == []


def test_a_suspicion_is_told_with_its_numbers(receiver: Receiver) -> None:
    row = suspicion(is_suggested=True, because="a private address", duration=timedelta(hours=1))
    signals.announce(signals.block_suggested, SuspiciousIP, suspicion=row, because=row.because)

    told = data(Delivery.objects.get())
    assert events() == ["block.suggested"]
    assert (told["target"], told["count"], told["threshold"]) == ("203.0.113.9", 140, 100)
    assert (told["because"], told["duration"]) == ("a private address", 3600)


def test_muted_events_are_not_written(receiver: Receiver, settings: Settings) -> None:
    settings.TRACKING_ALERT_MUTE = ["block.removed"]
    block("203.0.113.9")
    blocklist.lift_all(COMMAND_LINE)
    assert events() == ["block.created"]


def test_what_is_rolled_back_is_never_told(receiver: Receiver) -> None:
    heard: list[object] = []

    def hear(**facts: object) -> None:
        heard.append(facts)

    signals.address_blocked.connect(hear)
    with transaction.atomic():
        block("203.0.113.9")
        assert events() == ["block.created"]
        transaction.set_rollback(True)
    assert (events(), heard) == ([], [])
    block("203.0.113.9")
    assert (events(), len(heard)) == (["block.created"], 1)


def test_the_alert_is_there_when_the_change_is(receiver: Receiver) -> None:
    """Whoever kills the process between the commit and what follows it finds both."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    @transaction.atomic
    def change() -> None:
        transaction.on_commit(die)
        block("203.0.113.9")

    with pytest.raises(Killed):
        change()
    assert events() == ["block.created"]
    assert AccessRule.objects.count() == 1


def test_an_alert_that_cannot_be_written_stops_no_block(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        with connection.cursor() as cursor:  # on PostgreSQL this spoils the transaction, too
            cursor.execute("SELECT no_such_column")

    monkeypatch.setattr(Delivery.objects, "bulk_create", fail)
    block("203.0.113.9")
    assert AccessRule.objects.live(timezone.now()).count() == 1


def test_a_receiver_of_signals_that_fails_stops_no_block(receiver: Receiver) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("elsewhere")

    signals.address_blocked.connect(fail)
    try:
        block("203.0.113.9")
    finally:
        signals.address_blocked.disconnect(fail)
    assert AccessRule.objects.count() == 1


def test_requests_cost_no_query_more(
    receiver: Receiver, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        client.get("/nowhere")


def flood(address: str, end: datetime) -> None:
    """Put 700 requests of one address within 24 minutes on record."""
    for n in range(700):
        at = (end - timedelta(seconds=2 * n)).isoformat(" ").removesuffix("+00:00")
        facts = HARMLESS._replace(at=at, address=address, request_id=os.urandom(16).hex())
        journal.mine().append(facts)
    drainer.drain()


def test_a_flood_is_told_once_however_often_it_is_looked_at(receiver: Receiver) -> None:
    now = timezone.now()
    flood("203.0.113.9", now)
    for minutes in range(3):
        detection.run(now + timedelta(minutes=minutes))
    assert sorted(events()) == ["block.created", "suspicion.raised"]
    rule = AccessRule.objects.get()
    told = {row.event: data(row) for row in Delivery.objects.all()}
    assert told["suspicion.raised"]["rule"] == rule.pk
    assert told["block.created"]["actor"] == "detection"


def test_a_suggestion_is_told_once_while_its_flood_goes_on(receiver: Receiver) -> None:
    now = timezone.now()
    for hour in range(3):
        flood("10.0.0.9", now + timedelta(hours=hour))
        detection.run(now + timedelta(hours=hour))
    assert sorted(events()) == ["block.suggested", "suspicion.raised"]
    row = SuspiciousIP.objects.get()
    assert row.is_suggested
    told = {row.event: data(row) for row in Delivery.objects.all()}
    assert told["block.suggested"]["because"] == row.because != ""


# -- Webhooks


def test_an_event_is_delivered_once_and_verified(receiver: Receiver) -> None:
    block("203.0.113.9")
    assert (alerts.deliver(soon()), alerts.deliver(soon())) == (1, 0)

    (got,) = receiver.got
    told = Webhook(SECRET).verify(got.body, got.headers)
    assert (told["type"], told["data"]["count"]) == ("block.created", 1)
    row = Delivery.objects.get()
    assert (row.status, row.attempts, row.event_id) == (
        Status.SENT, 1, got.headers["webhook-id"],
    )  # fmt: skip


def test_each_endpoint_is_told_and_one_that_fails_delays_no_other(
    receiver: Receiver, settings: Settings
) -> None:
    with listening() as other:
        other.answers(500)
        settings.TRACKING_ALERT_WEBHOOKS = [
            f"{other.url()} {OTHER_SECRET}",
            f"{receiver.url()} {SECRET}",
        ]
        for last in range(3):
            block(f"203.0.113.{last}")
        alerts.deliver(soon())
    assert (len(other.got), len(receiver.got)) == (1, 3)


def test_a_failed_event_comes_again_with_the_same_id_and_body(receiver: Receiver) -> None:
    receiver.answers(500, b"not now")
    block("203.0.113.9")
    now = soon()
    alerts.deliver(now)

    row = Delivery.objects.get()
    assert (row.status, row.attempts) == (Status.PENDING, 1)
    assert row.last_answer == "500 Internal Server Error not now"
    assert DELAYS[0] <= row.next_attempt_at - now <= DELAYS[0] * 1.2

    receiver.answers(200)
    alerts.deliver(now + timedelta(seconds=59))
    assert len(receiver.got) == 1
    alerts.deliver(now + timedelta(seconds=73))
    first, second = receiver.got
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    Webhook(SECRET).verify(second.body, second.headers)


def test_after_days_of_failures_an_event_is_given_up_and_can_be_sent_anew(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers(500)
    block("203.0.113.9")
    now = soon()
    for attempt in range(len(DELAYS) + 3):
        alerts.deliver(now + timedelta(days=2 * attempt))
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == (Status.FAILED, len(DELAYS) + 1)
    assert len(receiver.got) == len(DELAYS) + 1

    receiver.answers(200)
    call_command("redeliver", "--failed")
    assert capsys.readouterr().out == "1 delivery to make\n"
    assert alerts.deliver(soon()) == 1


def test_retry_after_postpones_everything_for_this_endpoint(receiver: Receiver) -> None:
    receiver.answers(429, Retry_After="3600")
    block("203.0.113.8")
    now = soon()
    alerts.deliver(now)
    receiver.answers(200)
    block("203.0.113.9")
    assert alerts.deliver(now + timedelta(minutes=59)) == 0
    assert len(receiver.got) == 1
    assert alerts.deliver(now + timedelta(minutes=61)) == 2


def test_an_endpoint_that_is_gone_is_asked_no_more_until_it_takes_a_test(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers(410)
    block("203.0.113.8")
    alerts.deliver(soon())
    block("203.0.113.9")
    alerts.deliver(soon())
    assert len(receiver.got) == 1
    assert set(Delivery.objects.values_list("status", flat=True)) == {Status.DROPPED}

    receiver.answers(200)
    call_command("send_test_alert")
    block("203.0.113.10")
    assert alerts.deliver(soon()) == 1


def test_what_waits_for_an_endpoint_no_longer_set_is_dropped(
    receiver: Receiver, settings: Settings
) -> None:
    block("203.0.113.9")
    settings.TRACKING_ALERT_WEBHOOKS = []
    alerts.deliver(soon())
    assert Delivery.objects.get().status == Status.DROPPED
    assert receiver.got == []


def test_workers_at_once_deliver_each_event_once(receiver: Receiver) -> None:
    for last in range(10):
        block(f"203.0.113.{last}")
    start, sent = threading.Barrier(4), []

    def work() -> None:
        start.wait()
        try:
            sent.append(alerts.deliver(soon()))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(sent) == 10
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert (len(ids), len(set(ids))) == (10, 10)


def test_a_worker_that_dies_while_it_sends_only_delays(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    block("203.0.113.9")
    now = soon()
    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "send", die)
        with pytest.raises(Killed):
            alerts.deliver(now)
    assert alerts.deliver(now + timedelta(minutes=1)) == 0
    assert alerts.deliver(now + timedelta(minutes=6)) == 1


def test_a_clock_that_was_ahead_pauses_nobody_for_ever(receiver: Receiver) -> None:
    Counter.objects.create(
        name=f"alerts.{conf.current().alert_webhooks[0].mark}",
        updated_at=timezone.now() + timedelta(days=400),
    )
    block("203.0.113.9")
    assert alerts.deliver(soon()) == 1


def test_no_secret_is_logged_or_kept(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answers(410)
    block("203.0.113.9")
    alerts.deliver(soon())
    kept = "".join(str(list(Delivery.objects.values())) + caplog.text)
    assert "is told of nothing any more" in kept
    assert SECRET not in kept
    assert "d41d8cd9" not in kept  # a part of the path


# -- E-mail


def test_the_first_alert_is_mailed_at_once_and_the_rest_together(
    mailbox: list[mail.EmailMessage],
) -> None:
    block("203.0.113.1")
    now = soon()
    assert digest.send(now) == 1
    for last in range(2, 20):
        block(f"203.0.113.{last}")
    signals.announce(signals.suspicion_raised, SuspiciousIP, suspicion=suspicion())
    assert digest.send(now + timedelta(minutes=14)) == 0
    assert digest.send(now + timedelta(minutes=15)) == 19
    assert digest.send(now + timedelta(minutes=30)) == 0

    first, second = mailbox
    assert first.subject == "[security] 1 block.created"
    assert second.subject == "[security] 18 block.created, 1 suspicion.raised"
    assert second.to == ["ada@example.org"]
    body = str(second.body)
    assert "203.0.113.19 by command line" in body
    assert "and 8 before these" in body
    assert "203.0.113.9 (HIGH) flood: 140 requests in an hour" in body


def test_a_message_about_very_many_is_short(mailbox: list[mail.EmailMessage]) -> None:
    proposals = [proposal(f"2001:db8:{n:x}::/64") for n in range(1000)]
    blocklist.block_many(COMMAND_LINE, proposals)
    for n in range(30):
        row = suspicion(f"203.0.113.{n}")
        signals.announce(signals.suspicion_raised, SuspiciousIP, suspicion=row)
    digest.send(soon())
    body = str(mailbox[0].body)
    assert "and 990 more by command line at the same time" in body
    assert "and 20 before these" in body
    assert len(body.splitlines()) < 35


def test_what_clients_sent_forges_no_line_of_a_message(
    mailbox: list[mail.EmailMessage],
) -> None:
    row = suspicion()
    row.reason = "path /x\n\nblock.created: 99\n\u202eevil\x1b[31m\x00"
    signals.announce(signals.suspicion_raised, SuspiciousIP, suspicion=row)
    digest.send(soon())
    (line,) = [line for line in str(mailbox[0].body).splitlines() if "path /x" in line]
    assert line.endswith(r"path /x\x0a\x0ablock.created: 99\x0a\u202eevil\x1b[31m\x00")


def test_what_commits_while_a_message_is_written_stands_in_the_next(
    mailbox: list[mail.EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    block("203.0.113.8")
    now, real = soon(), digest.compose

    def slowly(told: QuerySet[Delivery]) -> tuple[str, str]:
        written = real(told)
        block("203.0.113.9")
        # As one that got its number before the others and commits after them.
        Delivery.objects.filter(pk=Delivery.objects.latest("pk").pk).update(id=-1)
        return written

    with monkeypatch.context() as patched:
        patched.setattr(digest, "compose", slowly)
        assert digest.send(now) == 1
    assert digest.send(now + timedelta(minutes=15)) == 1
    assert ["203.0.113.9" in str(message.body) for message in mailbox] == [False, True]


def test_two_workers_mail_one_message(mailbox: list[mail.EmailMessage]) -> None:
    block("203.0.113.9")
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        try:
            digest.send(soon())
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(mailbox) == 1


def test_a_mail_server_that_is_away_loses_nothing(
    mailbox: list[mail.EmailMessage], settings: Settings
) -> None:
    block("203.0.113.9")
    now = soon()
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert digest.send(now) == 0
    settings.EMAIL_BACKEND = working
    row = Delivery.objects.get()
    assert row.status == Status.PENDING
    assert row.last_answer.startswith("ConnectionRefusedError")
    assert digest.send(now + timedelta(seconds=61)) == 1
    assert len(mailbox) == 1


def test_mailboxes_taken_out_of_the_settings_are_told_nothing(
    mailbox: list[mail.EmailMessage], settings: Settings
) -> None:
    block("203.0.113.9")
    settings.TRACKING_ALERT_EMAILS = []
    assert digest.send(soon()) == 0
    assert (mailbox, Delivery.objects.get().status) == ([], Status.DROPPED)


# -- The worker, the commands, the admin


def test_the_worker_delivers_and_one_run_at_a_time(
    receiver: Receiver, mailbox: list[mail.EmailMessage]
) -> None:
    block("203.0.113.9")
    with tasks._delivering:
        tasks.deliver_alerts.call_local()
    assert (len(receiver.got), len(mailbox)) == (0, 0)
    tasks.deliver_alerts.call_local()
    tasks.mail_alerts.call_local()
    assert (len(receiver.got), len(mailbox)) == (1, 1)


def test_one_delivery_is_queued_for_what_happens_together(
    receiver: Receiver, mailbox: list[mail.EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[float] = []

    def schedule(delay: float) -> None:
        queued.append(delay)

    monkeypatch.setattr(tasks, "_woken_until", 0.0)
    monkeypatch.setattr(tasks.deliver_alerts_now, "schedule", schedule)
    monkeypatch.setattr(tasks.mail_alerts_now, "schedule", schedule)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    with transaction.atomic():
        block("203.0.113.8")
        assert queued == []
    block("203.0.113.9")
    assert queued == [1, 1]


def test_a_queue_that_is_away_stops_no_block(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(delay: float) -> None:
        raise DatabaseError("no queue")

    monkeypatch.setattr(tasks, "_woken_until", 0.0)
    monkeypatch.setattr(tasks.deliver_alerts_now, "schedule", away)
    block("203.0.113.9")
    assert events() == ["block.created"]


def test_alerts_of_a_month_ago_are_forgotten(receiver: Receiver) -> None:
    block("203.0.113.9")
    tasks.forget_old_alerts.call_local()
    assert Delivery.objects.count() == 1
    Delivery.objects.update(at=timezone.now() - timedelta(days=31))
    tasks.forget_old_alerts.call_local()
    assert Delivery.objects.count() == 0


def test_a_test_shows_what_each_endpoint_answers(
    receiver: Receiver,
    mailbox: list[mail.EmailMessage],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listening() as other:
        other.answers(401, b"who are you?")
        settings.TRACKING_ALERT_WEBHOOKS = [
            f"{receiver.url()} {SECRET}",
            f"{other.url()} {OTHER_SECRET}",
        ]
        with pytest.raises(CommandError, match="Not everybody"):
            call_command("send_test_alert")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("127.0.0.1#")
    assert lines[0].endswith(": 204 No Content")
    assert lines[1].endswith(": 401 Unauthorized who are you?")
    assert lines[2] == "ada@example.org: the mail server has taken it"
    assert Webhook(SECRET).verify(receiver.got[0].body, receiver.got[0].headers)["type"] == "test"
    assert len(mailbox) == 1
    assert Delivery.objects.count() == 0


def test_a_test_with_nobody_to_tell_says_what_to_set() -> None:
    with pytest.raises(CommandError, match="TRACKING_ALERT_WEBHOOKS"):
        call_command("send_test_alert")


def test_one_event_is_sent_anew_by_its_id(
    receiver: Receiver, mailbox: list[mail.EmailMessage]
) -> None:
    block("203.0.113.8")
    block("203.0.113.9")
    alerts.deliver(soon())
    call_command("redeliver", receiver.got[1].headers["webhook-id"])
    assert alerts.deliver(soon()) == 1
    assert receiver.got[1].body == receiver.got[2].body
    for wrong in ([], ["--failed", "msg_1"]):
        with pytest.raises(CommandError, match="either"):
            call_command("redeliver", *wrong)


def test_the_admin_shows_the_log_and_changes_nothing(
    receiver: Receiver, admin_client: Client
) -> None:
    receiver.answers(500, b"<script>alert(1)</script>")
    block("203.0.113.9", "<b>many</b>")
    alerts.deliver(soon())
    page = admin_client.get("/admin/tracking/delivery/").content.decode()
    assert "block.created" in page
    assert "&lt;script&gt;" in page
    row = Delivery.objects.get()
    url = f"/admin/tracking/delivery/{row.pk}/change/"
    assert row.event_id in admin_client.get(url).content.decode()
    assert admin_client.post(url, {"status": "SENT"}).status_code == 403
    assert admin_client.get("/admin/tracking/delivery/add/").status_code == 403
    assert admin_client.post(f"/admin/tracking/delivery/{row.pk}/delete/").status_code == 403


def test_staff_without_the_permission_sees_no_log(client: Client) -> None:
    user = get_user_model().objects.create_user("carl", password="x", is_staff=True)
    client.force_login(user)
    assert client.get("/admin/tracking/delivery/").status_code == 403


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("EMAILS", "ada@example.org", "tracking.E030"),
        ("EMAILS", ["ada@example.org, bob@example.org"], "tracking.E030"),
        ("EMAILS", ["ada@example.org\nBcc: eve@example.org"], "tracking.E030"),
        ("EMAILS", ["sesame"], "tracking.E030"),
        ("WEBHOOKS", f"https://hooks.example.org/ {SECRET}", "tracking.E031"),
        ("WEBHOOKS", [f"https://hooks.example.org/ {SECRET}"] * 2, "tracking.E031"),
        ("WEBHOOKS", ["https://hooks.example.org/"], "tracking.E031"),
        ("WEBHOOKS", 5, "tracking.E031"),
        ("INTERVAL", timedelta(0), "tracking.E032"),
        ("INTERVAL", 900, "tracking.E032"),
        ("MUTE", "block.created", "tracking.E033"),
        ("MUTE", ["block.made"], "tracking.E033"),
        ("NETWORKS", ["10.0.0.1/8"], "tracking.E034"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_by_its_check(
    settings: Settings, name: str, value: object, check_id: str
) -> None:
    setattr(settings, f"TRACKING_ALERT_{name}", value)
    ((found, sentence),) = conf.problems()
    assert found == check_id
    assert sentence.startswith(f"TRACKING_ALERT_{name}: ")
    assert SECRET not in sentence


def test_no_setting_of_alerts_stands_in_the_way_back_in(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    block("203.0.113.9")
    settings.TRACKING_ALERT_WEBHOOKS = ["nonsense"]
    call_command("unblock", "--all")
    assert capsys.readouterr().out == "1 block ended\n"
    assert not AccessRule.objects.live(timezone.now()).exists()
