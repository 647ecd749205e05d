"""What is kept of addresses is what TRACKING_IP_STORAGE says, from the journal on."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tests.schema.record import reader, told
from tests.tracking.records import HARMLESS
from tracking import (
    blastradius,
    blocklist,
    detection,
    dossier,
    drainer,
    explain,
    ipstorage,
    journal,
    peers,
    reviews,
)
from tracking.audit import Actor
from tracking.engine.address import counting_key, network_of, parse_address, parse_network
from tracking.engine.pseudonym import is_pseudonym, pseudonym, truncated
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.ingest import Ingest
from tracking.models import LIVE, AccessRule, LoginAttempt, RequestLog, SuspiciousIP
from tracking.proposals import Proposal, UnfitError
from tracking.timebudget import TimeBudget
from users.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.tracking.app")]

INSIDE = "81.2.69.160"
NETWORK = "81.2.69.0/24"
V6 = "2001:db8:1:2::3"
PERSON = Actor("ada lovelace", "1")


@pytest.fixture(params=["truncated", "hashed"])
def storage(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.TRACKING_IP_STORAGE = request.param
    return str(request.param)


def visited(address: str = INSIDE, path: str = "/status/200/") -> RequestLog:
    Client(REMOTE_ADDR=address).get(path)
    drainer.drain()
    return RequestLog.objects.latest("pk")


def block(target: str, **facts: object) -> AccessRule:
    network = target_of_network(parse_network(target))
    return blocklist.block(PERSON, Proposal(target=network, action=RuleAction.BLOCK, **facts))  # type: ignore[arg-type]


def test_the_address_itself_reaches_no_disk(storage: str, journal_dir: Path, places: None) -> None:
    Client(REMOTE_ADDR=INSIDE).get("/status/200/")
    line = b"".join(path.read_bytes() for path in journal.segments(journal_dir))
    assert line
    assert INSIDE.encode() not in line

    row = visited()
    assert (row.country, row.city) == ("GB", "")
    assert row.asn is not None
    if storage == "truncated":
        assert (row.address, row.counting_key) == ("81.2.69.0", NETWORK)
    else:
        assert is_pseudonym(parse_network(row.address))
        assert row.counting_key == counting_key(parse_address(row.address))


def test_rows_from_other_logs_and_old_journals_are_protected_on_their_way(storage: str) -> None:
    journal.mine().append(HARMLESS._replace(address=INSIDE))
    log = io.BytesIO(f'{INSIDE} - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1\n'.encode())
    call_command("drain")
    Ingest("nginx", on_bad=lambda *_: None).run(log)

    kept = set(RequestLog.objects.values_list("address", flat=True))
    assert kept == {str(ipstorage.stored(parse_address(INSIDE)))}
    assert INSIDE not in kept
    assert RequestLog.objects.count() == 2


def test_a_block_on_the_true_address_holds_and_is_explained(storage: str) -> None:
    assert visited().status == 200
    block(INSIDE)

    assert visited().verdict == "BLOCKED"
    trace = explain.explain(parse_address(INSIDE), TimeBudget(5.0))
    assert trace.verdict.refused
    assert trace.history.counts is not None
    assert sum(trace.history.counts.values()) == 2
    assert dossier.activity(parse_address(INSIDE)).requests == 2
    reference = RequestLog.objects.latest("pk").request_id
    with pytest.raises(explain.QuestionError, match="BLOCKED, but its address is not on record"):
        explain.explain_request(reference, TimeBudget(5.0))


def test_what_stands_in_the_record_cannot_be_blocked_in_its_place(storage: str) -> None:
    with pytest.raises(UnfitError, match=r"pseudonym|stands in the record for all of 81\.2\.69"):
        block(visited().address)
    with pytest.raises(CommandError):
        call_command("block", visited().address, stderr=io.StringIO())
    assert not AccessRule.objects.exists()


def test_detectors_only_suggest(storage: str) -> None:
    now = datetime.now(UTC)
    for second in range(700):
        moment = now - timedelta(seconds=second / 10)
        at = moment.isoformat(" ").removesuffix("+00:00")
        journal.mine().append(HARMLESS._replace(at=at, address="8.8.4.4"))
    drainer.drain()
    detection.run(now)

    row = SuspiciousIP.objects.get(detector="flood")
    assert row.is_suggested
    assert not AccessRule.objects.exists()
    assert "TRACKING_IP_STORAGE" in row.because or "is a pseudonym" in row.because
    assert row in dossier.suspicions_of(parse_address("8.8.4.4"))
    if storage == "truncated":
        assert row.target == "8.8.4.0/24"
        rule = reviews.approve(PERSON, row.pk).rule
        assert rule is not None
        assert visited("8.8.4.200").verdict == "BLOCKED"
    else:
        with pytest.raises(UnfitError, match="pseudonym"):
            reviews.approve(PERSON, row.pk)


def test_an_account_knows_the_address_it_was_logged_in_from(
    storage: str, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"login_account": "1/h"}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    name = f"ada {storage}"  # counted by no other test
    User.objects.create_superuser(name, password="right")
    page = "/admin/login/"
    owner = Client(REMOTE_ADDR=INSIDE)
    assert owner.post(page, {"username": name, "password": "right"}).status_code == 302
    row = LoginAttempt.objects.get()
    assert row.address == str(ipstorage.stored(parse_address(INSIDE)))

    stranger = Client(REMOTE_ADDR="203.0.113.9")
    assert stranger.post(page, {"username": name, "password": "no"}).status_code == 429
    Client(REMOTE_ADDR=INSIDE).post(page, {"username": name, "password": "right"})
    assert LoginAttempt.objects.filter(outcome="SUCCEEDED").count() == 2


def test_whom_a_rule_would_have_hit_is_told_as_far_as_the_record_tells(storage: str) -> None:
    visited()
    for target, told_in in (("81.2.69.160", "hashed"), (NETWORK, "truncated")):
        network = target_of_network(parse_network(target))
        radius = blastradius.of(Proposal(target=network, action=RuleAction.BLOCK), TimeBudget(5.0))
        assert (radius.requests, radius.complete) == (
            (1, True) if storage == told_in else (0, False)
        )


def test_a_proxy_is_not_looked_for_among_pseudonyms(storage: str) -> None:
    for _ in range(60):
        journal.mine().append(HARMLESS._replace(address="10.0.0.1"))
    drainer.drain()
    RequestLog.objects.update(at=datetime.now(UTC) - timedelta(minutes=1), source=LIVE)

    assert peers.problem(datetime.now(UTC)) == ""


@pytest.mark.urls("project.urls")
def test_a_list_is_asked_by_the_true_address(storage: str) -> None:
    visited(path="/livez-not")
    question = '{ requestLogs(filter: {address: "%s"}) { nodes { address } } }'
    client = reader()
    found = told(client, question % INSIDE)["requestLogs"]["nodes"]
    assert [node["address"] for node in found] == [str(ipstorage.stored(parse_address(INSIDE)))]
    assert told(client, question % "81.2.70.1")["requestLogs"]["nodes"] == []


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(32, 128), st.binary(min_size=1))
def test_a_pseudonym_keeps_clients_together_and_apart(
    address: object, prefix: int, key: bytes
) -> None:
    client = parse_address(str(address))
    name = pseudonym(client, key, prefix)
    assert is_pseudonym(network_of(name, 128))
    assert pseudonym(name, key, prefix) == name
    neighbour = type(client)(int(client) ^ 1)
    together = client.version == 6 and prefix < 128
    same = network_of(pseudonym(neighbour, key, prefix), prefix) == network_of(name, prefix)
    assert same is together or is_pseudonym(network_of(client, 128))
    assert truncated(name).network_address == parse_address("fc00::")


def test_another_key_makes_another_pseudonym_and_the_old_one_is_still_known(
    settings: Settings,
) -> None:
    settings.TRACKING_IP_STORAGE = "hashed"
    client = parse_address(V6)
    before = ipstorage.stored(client)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10

    assert ipstorage.stored(client) != before
    assert ipstorage.pseudonyms(client) == {before, ipstorage.stored(client)}


def test_nobody_has_no_pseudonym(storage: str) -> None:
    assert str(ipstorage.stored(parse_address("0.0.0.0"))) == "0.0.0.0"


def test_what_is_on_record_leaves_the_journal_however_rare_requests_are(
    journal_dir: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACKING_JOURNAL_UNLINK_DELAY = 0
    visited()
    drainer.clear()
    [first] = journal.segments(journal_dir)

    monkeypatch.setattr(journal.mine(), "_until", 0.0)
    drainer.clear()
    drainer.drain()
    drainer.clear()
    assert not first.exists()

    visited()
    assert RequestLog.objects.count() == 2
