"""What is on record about somebody is handed out whole, and goes when it is to go."""

from __future__ import annotations

import builtins
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.users.front import RIGHT, SIGN_UP, ask, log_in
from tracking import audit, blocklist, drainer, guards, ipstorage, privacy, reviews, rollups
from tracking.audit import COMMAND_LINE, Actor
from tracking.datasubject import DataSubject, user
from tracking.engine.address import parse_address, parse_network
from tracking.engine.redaction import ERASED, without_addresses
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.models import (
    AccessRule,
    AuditEntry,
    Delivery,
    DetectionRun,
    HourlyCount,
    LoginAttempt,
    RequestLog,
    SuspiciousIP,
)
from tracking.proposals import Proposal
from tracking.suspicions import DETECTION
from users.models import Session, User

pytestmark = pytest.mark.django_db

HERS, OTHER = "203.0.113.7", "203.0.113.77"
ADMIN = Actor("ada", "1", parse_address("198.51.100.1"))
NOW = timezone.now()


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.TRACKING_ALERT_EMAILS = ["admins@example.org"]


def put(address: str = HERS, days: float = 0, **values: Any) -> RequestLog:
    facts: dict[str, Any] = {"counting_key": address, "path": "/", "status": 200, "duration_ms": 1}
    at = NOW - timedelta(days=days)
    return RequestLog.objects.create(
        address=address, at=at, **facts | {"verdict": "ALLOWED"} | values
    )


def suspicion(address: str = HERS, **values: Any) -> SuspiciousIP:
    facts: dict[str, Any] = {"detector": "flood", "reason": "many", "severity": "HIGH", "count": 9}
    times = dict.fromkeys(("window_start", "window_end", "first_seen", "last_seen"), NOW)
    return SuspiciousIP.objects.create(
        target=address, first=address, prefix=32, threshold=1, **facts | times | values
    )


def block(address: str = HERS, reason: str = "") -> AccessRule:
    target = target_of_network(parse_network(address))
    proposal = Proposal(target=target, action=RuleAction.BLOCK, reason=reason)
    return blocklist.block(ADMIN, proposal)


def erased(*arguments: str) -> str:
    said = io.StringIO()
    call_command("erase_data", *arguments, "--yes", stdout=said)
    return said.getvalue()


def everything() -> str:
    """Return all that the tables say, but the times."""
    models = [RequestLog, LoginAttempt, SuspiciousIP, AccessRule, AuditEntry, Delivery]
    models += [DetectionRun, HourlyCount, Session]  # type: ignore[list-item]
    return json.dumps([list(each._default_manager.values()) for each in models], default=str)


def write_about_an_address() -> AccessRule:
    """Leave a trace of an address in every table that can have one."""
    put()
    put(days=40)
    put(OTHER)
    LoginAttempt.objects.create(at=NOW, address=HERS, account="eve", outcome="FAILED", door="/")
    row = suspicion()
    reviews.review(ADMIN, row.pk, SuspiciousIP.Status.CONFIRMED, note="see it")
    rule = block(reason=f"because of {HERS}.")
    blocklist.lift(ADMIN, guards.target_of(rule), RuleAction.BLOCK, f"{HERS} has said sorry")
    DetectionRun.objects.create(
        now=NOW, started_at=NOW, after_row=0, upto_row=1, trigger=f"many requests of {HERS}"
    )
    Delivery.objects.update(status=Delivery.Status.SENT, last_answer=f"200 OK {HERS} is blocked")
    user = User.objects.create_user("eve", password=RIGHT)
    Session.objects.create(user=user, expires_at=NOW, address=HERS, user_agent="hers")
    rollups.renew()
    return rule


def test_nothing_tells_of_an_address_that_was_erased() -> None:
    write_about_an_address()
    assert everything().count(f'"{HERS}"') > 10
    said = erased("--address", HERS, "--reason", "she asked for it")

    assert f'{HERS}"' not in everything()
    assert f"{HERS} " not in everything()
    assert list(RequestLog.objects.values_list("address", flat=True)) == [OTHER]
    assert not SuspiciousIP.objects.exists()
    assert "RequestLog              2 deleted" in said
    assert "Session                 1 redacted" in said


def test_what_is_kept_still_says_who_did_what() -> None:
    rule = write_about_an_address()
    number = AuditEntry.objects.count()
    erased("--address", HERS)

    *before, last = AuditEntry.objects.order_by("pk")
    assert len(before) == number
    made = next(entry for entry in before if entry.action == "block")
    assert (made.actor, made.target) == ("ada", ERASED)
    assert made.after["rule"] == rule.pk
    rule.refresh_from_db()
    assert (rule.target, rule.reason, rule.created_by) == ("0.0.0.0", "", "ada")
    assert rule.ended_at is not None
    assert (last.action, last.actor, last.target) == (
        "erase_personal_data",
        "command line",
        "an address or network",
    )
    assert {"table": "RequestLog", "fate": "deleted", "rows": 2, "why": ""} in last.after["rows"]


def test_a_rule_in_force_stays_and_is_named() -> None:
    block()
    said = erased("--address", HERS)

    assert "AccessRule              1 kept: these rules are in force" in said
    assert AccessRule.objects.blocked_ips(NOW).get().target == HERS
    assert AuditEntry.objects.get(action="block").target == HERS
    assert "alerts are still to be delivered" in said


def test_counts_of_old_hours_forget_the_address_at_once() -> None:
    put(days=300, path="/hers-alone")
    put(OTHER, days=300)
    rollups.renew()
    assert HourlyCount.objects.filter(value=HERS).exists()
    erased("--address", HERS)

    values = set(HourlyCount.objects.values_list("value", flat=True))
    assert OTHER in values
    assert not values & {HERS, "/hers-alone"}


def test_a_network_goes_with_its_parts_and_nothing_else() -> None:
    for address in ("203.0.113.0", HERS, OTHER, "203.0.112.7", "2001:db8::7"):
        put(address)
    erased("--address", "203.0.113.0/24")
    assert set(RequestLog.objects.values_list("address", flat=True)) == {
        "203.0.112.7",
        "2001:db8::7",
    }


def test_a_user_goes_and_his_account_stays() -> None:
    eve = User.objects.create_user("eve", password=RIGHT)
    put(user_pk=str(eve.pk), username="eve")
    put(user_pk=str(eve.pk), username="eve before her marriage")
    put(username="eve")  # from another server's log
    kept = [put(user_pk="999", username="eve"), put(username="evelyn")]
    log_in("eve")
    log_in("eve")
    Session.objects.filter(pk=Session.objects.first().pk).update(ended_at=NOW)  # type: ignore[union-attr]
    suspicion(reviewed_by="eve")
    rule = blocklist.block(
        Actor("eve", str(eve.pk), parse_address(HERS)),
        Proposal(
            target=target_of_network(parse_network(OTHER)), action=RuleAction.BLOCK, reason="eve's"
        ),
    )
    Delivery.objects.update(status=Delivery.Status.SENT)
    said = erased("--user", "EVE")

    requests = RequestLog.objects.exclude(path__startswith="/graphql").order_by("pk")
    assert list(requests) == kept
    assert not LoginAttempt.objects.exists()
    [session] = Session.objects.all()
    assert (session.address, session.user_agent, session.ended_at) == (None, "", None)
    rule.refresh_from_db()
    assert (rule.created_by, rule.target) == (ERASED, OTHER)
    entry = AuditEntry.objects.get(action="block")
    assert (entry.actor, entry.actor_pk, entry.address) == (ERASED, str(eve.pk), None)
    assert SuspiciousIP.objects.get().reviewed_by == ERASED
    assert '"eve"' not in "".join(Delivery.objects.values_list("body", flat=True))
    assert "User                    1 kept: delete the account in the admin" in said
    assert log_in("eve")["accessToken"]


def test_nothing_of_others_is_his_who_is_called_as_the_service_calls_itself(
    settings: Settings,
) -> None:
    settings.TRACKING_ALERT_EMAILS = []
    for name in ("anonymous", "detection"):
        assert not ask(SIGN_UP, username=name, password=RIGHT)["data"]["signup"]["errors"]
    stolen = audit.record(Actor("anonymous", address=parse_address(HERS)), "session_reuse", "eve")
    proposal = Proposal(
        target=target_of_network(parse_network(OTHER)),
        action=RuleAction.BLOCK,
        expires_at=timezone.now() + timedelta(hours=1),
        origin=AccessRule.Origin.AUTOMATIC,
    )
    blocklist.block(DETECTION, proposal)
    for name in ("anonymous", "detection"):
        export = "".join(privacy.document(privacy.export(ADMIN, user(name)), user(name)))
        assert HERS not in export
        assert OTHER not in export
        erased("--user", name)

    stolen.refresh_from_db()
    assert (stolen.actor, stolen.address) == ("anonymous", HERS)
    assert AccessRule.objects.get().created_by == "detection"
    assert AuditEntry.objects.get(action="block").actor == "detection"


@pytest.mark.parametrize("name", ["BLOCK", "MANUAL", HERS])
def test_no_word_of_a_rule_is_taken_for_a_name(name: str) -> None:
    proposal = Proposal(target=target_of_network(parse_network(HERS)), action=RuleAction.BLOCK)
    blocklist.block(Actor("ada", "4711"), proposal)
    Delivery.objects.update(status=Delivery.Status.SENT)
    ask(SIGN_UP, username=name, password=RIGHT)
    entries = AuditEntry.objects.filter(action="block")
    kept = [*entries.values(), *Delivery.objects.values()]
    assert len(kept) == 2
    told = "".join(privacy.document(privacy.export(ADMIN, user(name)), user(name)))
    tables = json.loads(told)["tables"]
    assert tables["Delivery"] == []
    assert "block" not in [entry["action"] for entry in tables["AuditEntry"]]
    erased("--user", name)

    assert [*entries.values(), *Delivery.objects.values()] == kept


def test_a_user_whose_account_is_gone_is_found_by_his_name() -> None:
    ask(SIGN_UP, username="eve", password=RIGHT)
    User.objects.get().delete()
    erased("--user", "eve")

    entry = AuditEntry.objects.exclude(action="erase_personal_data").get()
    assert (entry.actor, entry.target, entry.address) == (ERASED, f"user {ERASED}", None)


def test_an_export_holds_every_table_and_no_secret(tmp_path: Path) -> None:
    write_about_an_address()
    file = tmp_path / "hers.json"
    call_command("export_data", "--address", HERS, "--output", str(file), stderr=io.StringIO())

    assert file.stat().st_mode & 0o777 == 0o600
    told = json.loads(file.read_text())
    numbers = {table: len(rows) for table, rows in told["tables"].items() if rows}
    assert numbers.pop("Delivery") >= 2
    assert numbers.pop("AuditEntry") >= 3
    assert numbers == {
        "RequestLog": 2,
        "LoginAttempt": 1,
        "SuspiciousIP": 1,
        "AccessRule": 1,
        "DetectionRun": 1,
        "Session": 1,
    }
    assert OTHER not in file.read_text()
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.target) == ("export_personal_data", HERS)
    with pytest.raises(CommandError, match="is there already"):
        call_command("export_data", "--address", HERS, "--output", str(file))


def test_an_account_is_exported_without_what_lets_one_in() -> None:
    User.objects.create_user("eve", "eve@example.org", password=RIGHT)
    log_in("eve")
    said = io.StringIO()
    call_command("export_data", "--user", "eve", stdout=said)

    [account] = json.loads(said.getvalue())["tables"]["User"]
    assert account["email"] == "eve@example.org"
    assert not {"password", "canonical"} & set(account)
    for secret in (User.objects.get().password, "digest"):
        assert secret not in said.getvalue()


def test_nothing_is_erased_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    write_about_an_address()
    before = everything()
    said = io.StringIO()
    call_command("erase_data", "--address", HERS, "--dry-run", stdout=said)
    assert "RequestLog              2 would be deleted" in said.getvalue()
    for answer in ("yes", "", OTHER):
        monkeypatch.setattr(builtins, "input", lambda _, answer=answer: answer)
        with pytest.raises(CommandError, match="Nothing is erased"):
            call_command("erase_data", "--address", HERS, stdout=io.StringIO())
    assert everything() == before

    monkeypatch.setattr(builtins, "input", lambda _: HERS)
    call_command("erase_data", "--address", HERS, stdout=io.StringIO())
    assert everything() != before


@pytest.mark.parametrize(
    "wrong",
    [
        ("--address", "203.0.113.7/24"),
        ("--address", "somebody"),
        ("--user", ""),
        ("--user", "\x00"),
        ("--user", "x" * 300),
        (),
        ("--user", "eve", "--address", HERS),
    ],
)
def test_who_is_not_named_clearly_is_nobody(wrong: tuple[str, ...]) -> None:
    for command in ("erase_data", "export_data"):
        with pytest.raises(CommandError):
            call_command(command, *wrong, stdout=io.StringIO())


@pytest.mark.parametrize("asked", [HERS, "203.0.113.0/28", "2001:db8:1:2::/64"])
def test_pseudonyms_are_found_by_the_true_address_under_an_old_key_too(
    settings: Settings, asked: str
) -> None:
    settings.TRACKING_IP_STORAGE = "hashed"
    address = parse_network(asked)[7 if "/" in asked else 0]
    names = [ipstorage.stored(address)]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    names += [address, ipstorage.stored(address)]
    for name in names:
        put(str(name), counting_key=ipstorage.key_of(parse_address(str(name))))
    put(str(ipstorage.stored(parse_address("192.0.2.1"))))
    client = ipstorage.client_of(address)
    suspicion(str(client[0])).__class__.objects.update(target=str(client), prefix=client.prefixlen)
    erased("--address", asked)

    assert RequestLog.objects.count() == 1
    assert not SuspiciousIP.objects.exists()


def test_a_wide_network_says_what_it_cannot_find(settings: Settings) -> None:
    settings.TRACKING_IP_STORAGE = "hashed"
    assert "under pseudonyms" in erased("--address", "203.0.0.0/16")
    assert "under pseudonyms" not in erased("--address", "203.0.113.0/28")


def test_requests_that_are_still_in_the_journal_go_too(client: Client) -> None:
    Client(REMOTE_ADDR=HERS).get("/nowhere/")
    erased("--address", HERS)
    drainer.drain()
    assert not RequestLog.objects.exists()


def test_an_erasure_that_runs_out_of_time_says_so_and_can_go_on() -> None:
    for _ in range(3):
        put()
    subject = DataSubject(network=parse_network(HERS))
    report = privacy.erase(COMMAND_LINE, subject, seconds=0)
    assert not report.complete
    assert RequestLog.objects.count() == 3
    assert AuditEntry.objects.latest("pk").after["complete"] is False
    assert privacy.erase(COMMAND_LINE, subject).complete
    assert not RequestLog.objects.exists()


EXPORT = """mutation ($input: ExportPersonalDataInput!) {
    exportPersonalData(input: $input) { data errors { code message path } } }"""
ERASE = """mutation ($input: ErasePersonalDataInput!) { erasePersonalData(input: $input) {
    complete note tables { table fate rows why } errors { code message path } } }"""


def test_both_are_done_over_graphql(monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_superuser("ada", password=RIGHT)
    token = log_in("ada")["accessToken"]
    put()
    data = ask(EXPORT, token, network=HERS)["data"]["exportPersonalData"]["data"]
    assert [row["address"] for row in data["tables"]["RequestLog"]] == [HERS]
    entry = AuditEntry.objects.get(action="export_personal_data")
    assert (entry.actor, entry.target) == ("ada", HERS)

    told = ask(ERASE, token, network=HERS, reason="on request")["data"]["erasePersonalData"]
    assert told["complete"]
    assert {"table": "RequestLog", "fate": "DELETED", "rows": 1, "why": ""} in told["tables"]
    entry = AuditEntry.objects.get(action="erase_personal_data")
    assert (entry.actor, entry.reason) == ("ada", "on request")
    assert not RequestLog.objects.filter(address=HERS).exists()

    for wrong in ({}, {"network": HERS, "username": "ada"}, {"username": ""}):
        for document, field in ((EXPORT, "exportPersonalData"), (ERASE, "erasePersonalData")):
            [error] = ask(document, token, **wrong or {"network": None})["data"][field]["errors"]
            assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input"])
    monkeypatch.setattr("schema.privacy.MOST_ROWS", 3)
    told = ask(EXPORT, token, username="ada")["data"]["exportPersonalData"]
    assert "manage.py export_data" in told["errors"][0]["message"]
    assert told["data"] is None


@pytest.mark.parametrize("network", ["0.0.0.0/0", "81.2.0.0/15", "::/0", "2001:db8::/47"])
def test_a_network_that_is_no_persons_is_not_erased_by_a_slip(network: str) -> None:
    User.objects.create_superuser("ada", password=RIGHT)
    put()
    asked = ask(ERASE, log_in("ada")["accessToken"], network=network)
    told = asked["data"]["erasePersonalData"]
    assert told["tables"] is None
    assert "use `manage.py erase_data`" in told["errors"][0]["message"]
    assert RequestLog.objects.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HERS, ERASED),
        (f"see {HERS}.", f"see {ERASED}."),
        (f"address:{HERS}", f"address:{ERASED}"),
        (f"flood {HERS}/32", f"flood {ERASED}"),
        (f"{OTHER} 1{HERS} {HERS}0 v1.2.3", f"{OTHER} 1{HERS} {HERS}0 v1.2.3"),
        ("203.0.113.0/24", "203.0.113.0/24"),
    ],
)
def test_an_address_is_taken_out_of_a_text_and_no_other(text: str, expected: str) -> None:
    assert without_addresses(text, [parse_network(HERS)]) == expected


def test_a_name_nobody_has_is_still_somebody() -> None:
    assert user("gone") == DataSubject(name="gone")
