"""What detection finds in the record, what it does about it, and what it never does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import (
    blocklist,
    detection,
    drainer,
    evidence,
    journal,
    policy,
    reviews,
    signals,
    suspicions,
    tally,
)
from tracking.audit import Actor
from tracking.engine.address import parse_address, parse_network
from tracking.engine.findings import Mode, Severity
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_network
from tracking.engine.visit import Record
from tracking.models import (
    AccessRule,
    AuditEntry,
    Counter,
    DetectorMode,
    LoginAttempt,
    RequestLog,
    SuspiciousIP,
)
from tracking.proposals import Proposal
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
CLIENT = "198.51.100.7"
ATTACK = "/cgi-bin/../../../../etc/passwd"


@pytest.fixture(autouse=True)
def nothing_noticed_yet() -> None:
    tally.reset()


def record(records: Iterable[Record]) -> None:
    for each in records:
        journal.mine().append(each)
    drainer.drain()


def request(at: datetime, address: str = CLIENT, path: str = "/", **facts: object) -> Record:
    written = at.isoformat(" ").removesuffix("+00:00")
    return HARMLESS._replace(
        at=written, address=address, path=path, request_id=os.urandom(16).hex(), **facts
    )


def requests(
    number: int, end: datetime = NOW, within: float = 3000, **facts: object
) -> list[Record]:
    step = timedelta(seconds=within / max(number - 1, 1))
    return [request(end - step * n, **facts) for n in reversed(range(number))]


def flagged(detector: str) -> list[SuspiciousIP]:
    return list(SuspiciousIP.objects.filter(detector=detector).order_by("pk"))


def blocks() -> list[str]:
    rules = AccessRule.objects.filter(action="BLOCK", ended_at=None).order_by("pk")
    return list(rules.values_list("target", flat=True))


def test_a_hundred_requests_within_an_hour_are_clean_and_one_more_is_flagged() -> None:
    record(requests(100, address="203.0.113.1"))
    record(requests(101, address="203.0.113.2"))
    detection.run(NOW)
    (row,) = flagged("flood")
    assert (row.target, row.count, row.threshold) == ("203.0.113.2", 101, 100)
    assert blocks() == []


@pytest.mark.parametrize(("within", "number"), [(3600, 1), (3601, 0)])
def test_an_hour_is_sixty_minutes_wherever_it_begins(within: float, number: int) -> None:
    record(requests(101, end=NOW.replace(minute=5), within=within))
    detection.run(NOW)
    assert len(flagged("flood")) == number


def test_runs_that_overlap_keep_one_open_row() -> None:
    for minute in range(0, 30, 3):
        record(requests(40, end=NOW + timedelta(minutes=minute), within=120))
        detection.run(NOW + timedelta(minutes=minute))
    (row,) = flagged("flood")
    assert row.count == 400
    assert row.status == "OPEN"


def test_addresses_of_one_ipv6_network_count_as_one_client() -> None:
    record(request(NOW - timedelta(seconds=n), address=f"2001:db8:7:7::{n:x}") for n in range(101))
    detection.run(NOW)
    assert [row.target for row in flagged("flood")] == ["2001:db8:7:7::/64"]


def test_a_flood_is_blocked_for_an_hour_then_longer_and_at_first_again_after_good_behaviour(
    settings: Settings,
) -> None:
    lasted = []
    for moment in (
        NOW,
        NOW + timedelta(hours=3),
        NOW + timedelta(hours=40),
        NOW + timedelta(days=60),
    ):
        record(requests(601, end=moment))
        assert detection.run(moment).blocked == 1
        rule = AccessRule.objects.latest("pk")
        assert rule.expires_at is not None
        lasted.append(rule.expires_at - moment)
        blocklist.close_expired(rule.expires_at)
    hour = timedelta(hours=1)
    assert lasted == [hour, 4 * hour, 24 * hour, hour]


def test_an_office_of_signed_in_people_is_flagged_and_not_blocked() -> None:
    record(
        each._replace(user_pk=str(number % 30 + 1000), username=f"user{number % 30}")
        for number, each in enumerate(requests(900))
    )
    detection.run(NOW)
    assert [row.count for row in flagged("flood")] == [900]
    assert blocks() == []


def test_the_same_moment_twice_changes_nothing() -> None:
    record(requests(700))
    record([request(NOW, "203.0.113.9", ATTACK)])
    first = detection.run(NOW)
    before = everything()
    second = detection.run(NOW)
    assert (first.raised, first.blocked) == (2, 2)
    assert (second.findings, second.raised, second.blocked) == (0, 0, 0)
    assert everything() == before


def test_the_same_rows_looked_at_again_change_nothing() -> None:
    record(requests(700))
    detection.run(NOW)
    before = everything()
    Counter.objects.filter(name=detection.WATERMARK).update(value=0)
    again = detection.run(NOW)
    assert again.findings
    assert (again.raised, again.blocked) == (0, 0)
    assert everything() == before


def everything() -> list[object]:
    """What detection writes, but for its own reports."""
    rows: list[object] = []
    for model in (SuspiciousIP, AccessRule, AuditEntry):
        rows += model.objects.order_by("pk").values()
    return rows


def test_preview_says_what_a_run_would_do_and_does_nothing() -> None:
    record(requests(700))
    (planned,) = [each for each in detection.preview(NOW) if each.finding.detector == "flood"]
    assert (planned.response.mode, planned.response.duration) == (Mode.ENFORCE, timedelta(hours=1))
    assert everything() == []
    assert detection.watermark() == 0


def test_after_a_day_away_what_is_long_past_is_flagged_and_not_punished() -> None:
    record(requests(700, end=NOW - timedelta(hours=9), address="203.0.113.1"))
    record(requests(700, end=NOW, address="203.0.113.2"))
    report = detection.run(NOW)
    assert {row.target for row in flagged("flood")} == {"203.0.113.1", "203.0.113.2"}
    assert blocks() == ["203.0.113.2"]
    assert report.blocked == 1


def test_rows_that_come_late_count_with_those_of_their_hour() -> None:
    record(requests(60, address=CLIENT))
    detection.run(NOW)
    record(requests(60, end=NOW - timedelta(minutes=5), within=2000))
    detection.run(NOW)
    assert [row.count for row in flagged("flood")] == [120]


def test_rows_of_a_clock_that_runs_ahead_wait_for_their_time() -> None:
    record(requests(700, end=NOW + timedelta(days=1)))
    assert detection.run(NOW).findings == 0
    assert everything() == []


def test_a_clock_that_was_a_day_ahead_keeps_no_run_out_and_no_attacker_safe() -> None:
    ahead = NOW + timedelta(days=1)
    record([request(ahead, path="/.env", status=404, tags="from_a_page")])
    detection.run(ahead)
    assert blocks() == []
    Counter.objects.filter(name=detection.LEASE).update(value=1, updated_at=ahead)  # and it died
    record([request(NOW, path=ATTACK)])
    assert detection.run(NOW).blocked == 1
    assert detection.run(NOW).blocked == 0
    record([request(NOW, path=ATTACK)])
    assert (detection.run(NOW).blocked, len(flagged("signatures"))) == (0, 1)
    assert blocks() == [CLIENT]


def test_a_blocked_client_that_goes_on_is_not_punished_for_what_was_refused() -> None:
    record(requests(700, verdict="BLOCKED", status=403))
    detection.run(NOW)
    assert everything() == []


def test_many_who_open_the_login_page_hide_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_ROWS", 20)
    record([request(NOW - timedelta(minutes=5), path=ATTACK)])
    for tags in ("", "from_a_page", "untrusted_forwarding"):
        record(request(NOW, f"203.0.113.{n}", "/login", tags=tags) for n in range(30))
    detection.run(NOW)
    assert blocks() == [CLIENT]


def test_a_severe_signature_is_blocked_and_a_mild_one_is_not() -> None:
    record([request(NOW, "203.0.113.1", ATTACK)])
    record([request(NOW, "203.0.113.2", "/wp-login.php", status=404)])
    detection.run(NOW)
    assert blocks() == ["203.0.113.1"]
    assert [row.target for row in flagged("probing")] == ["203.0.113.2"]


def test_whoever_comes_with_a_forged_header_gets_nobody_flagged(
    client: Client, settings: Settings
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["192.0.2.254"]
    for forwarded in (CLIENT, f"{CLIENT}, nonsense"):
        for peer in ("192.0.2.99", "192.0.2.254"):
            if (peer, forwarded) != ("192.0.2.254", CLIENT):
                client.get(ATTACK, headers={"x-forwarded-for": forwarded}, REMOTE_ADDR=peer)
    drainer.drain()
    detection.run(datetime.now(UTC))
    assert {row.target for row in SuspiciousIP.objects.all()} == {"192.0.2.99"}


def test_a_page_that_makes_its_visitors_send_attacks_gets_none_of_them_blocked(
    client: Client,
) -> None:
    scanner = {"user-agent": "sqlmap/1.8", "sec-fetch-site": "cross-site"}
    sent = {
        "203.0.113.1": {"sec-fetch-site": "cross-site"},
        "203.0.113.2": {"sec-fetch-site": "same-origin"},
        "203.0.113.3": {"sec-fetch-site": "none"},
        "203.0.113.4": {"sec-fetch-site": "nonsense"},
        "203.0.113.5": {},
        "203.0.113.6": scanner,
    }
    for address, headers in sent.items():
        client.get("/", {"q": "<script>alert(1)</script>"}, headers=headers, REMOTE_ADDR=address)
    for number in range(6):
        led = {"sec-fetch-site": "cross-site"}
        client.get(f"/backup/{number}", headers=led, REMOTE_ADDR="203.0.113.7")
        client.get("/harmless/", headers=led, REMOTE_ADDR="203.0.113.8")
    drainer.drain()
    detection.run(datetime.now(UTC))
    assert blocks() == [f"203.0.113.{n}" for n in (3, 4, 5, 6)]
    suggested = SuspiciousIP.objects.filter(is_suggested=True, detector="signatures")
    assert {row.target for row in suggested} == {"203.0.113.1", "203.0.113.2"}
    assert [row.target for row in flagged("probing")] == ["203.0.113.7"]
    assert not RequestLog.objects.filter(address="203.0.113.8").exclude(tags=()).exists()


def test_an_analyst_who_searches_the_record_for_attacks_is_not_flagged(client: Client) -> None:
    User.objects.create_superuser("ann", password="x")
    client.login(username="ann", password="x")
    for attack in ("../../etc/passwd", "' OR 1=1 --", "<script>alert(1)</script>"):
        for path in ("/admin/tracking/requestlog/", "/graphql/"):
            client.get(path, {"q": attack, "query": "{ __typename }"}, REMOTE_ADDR=CLIENT)
            page = f"http://testserver{path}?q={attack}"
            headers = {"host": "testserver", "referer": page}
            client.get("/static/none.css", headers=headers, REMOTE_ADDR=CLIENT)
    drainer.drain()
    detection.run(datetime.now(UTC))
    assert list(SuspiciousIP.objects.values_list("detector", "reason")) == []


def test_the_address_of_a_colleague_is_suggested_and_not_blocked() -> None:
    ann = User.objects.create_superuser("ann", password="x")
    record([request(NOW - timedelta(hours=20), user_pk=str(ann.pk), username="ann")])
    record(requests(700))
    detection.run(NOW)
    assert blocks() == []
    (row,) = flagged("flood")
    assert row.is_suggested
    assert "signed in" in row.because


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "100.64.0.9", "169.254.7.7", "fd00::1", "127.0.0.1"]
)
def test_when_all_come_from_one_private_address_nobody_is_blocked(address: str) -> None:
    record(requests(700, address=address))
    record([request(NOW, address, ATTACK)])
    detection.run(NOW)
    assert blocks() == []
    assert all(row.is_suggested for row in SuspiciousIP.objects.all())
    assert SuspiciousIP.objects.exists()


def test_a_declared_crawler_is_suggested_for_counting_and_blocked_for_attacks() -> None:
    agent = "Mozilla/5.0 (compatible; Crawlybot/2.1; +https://example.org/bot)"
    record(requests(700, address="203.0.113.1", user_agent=agent))
    record([request(NOW, "203.0.113.2", ATTACK, user_agent=agent)])
    detection.run(NOW)
    assert blocks() == ["203.0.113.2"]
    assert [row.is_suggested for row in flagged("flood")] == [True]


def test_allowed_clients_are_flagged_and_never_blocked() -> None:
    target = target_of_network(parse_network("198.51.100.0/24"))
    blocklist.allow(Actor("op"), Proposal(target=target, action=RuleAction.ALLOW))
    record(requests(700))
    detection.run(NOW)
    assert blocks() == []
    assert flagged("flood")[0].because == "the target is allowed"


def test_failed_logins_to_many_accounts_are_blocked() -> None:
    record([request(NOW)])
    for number in range(6):
        LoginAttempt.objects.create(
            at=NOW - timedelta(seconds=number),
            address=CLIENT,
            account=f"user{number}",
            outcome="FAILED",
            door="/admin/login/",
        )
    detection.run(NOW)
    assert flagged("stuffing")[0].target == CLIENT
    assert blocks() == [CLIENT]


def attempt(account: str, outcome: str, seconds: float = 0, address: str = CLIENT) -> None:
    LoginAttempt.objects.create(
        at=NOW - timedelta(seconds=seconds),
        address=address,
        account=account,
        outcome=outcome,
        door="/admin/login/",
    )


def test_an_office_that_logs_in_from_one_address_is_not_flagged_for_the_limit_it_meets() -> None:
    answers = [200] * 5 + [429] * 60
    record(request(NOW, path="/api/login/", method="POST", status=each) for each in answers)
    for number in range(30):
        attempt(f"user{number}", "LIMITED", seconds=80)
        attempt(f"user{number}", "SUCCEEDED", seconds=20)
    detection.run(NOW)
    assert flagged("stuffing") == []
    assert blocks() == []


def test_whoever_mistypes_and_gets_in_guesses_at_nothing_and_whoever_goes_on_does() -> None:
    record([request(NOW)])
    for number in range(12):
        attempt(f"user{number}", "FAILED", seconds=40)
        attempt(f"User{number}", "SUCCEEDED", seconds=20)
    detection.run(NOW)
    assert flagged("stuffing") == []
    record([request(NOW)])
    for outcome in ["FAILED"] * 8 + ["LIMITED"] * 8 + ["SUCCEEDED"]:
        attempt("ada", outcome, address="203.0.113.5")
    detection.run(NOW)
    assert blocks() == ["203.0.113.5"]


def test_forms_that_ask_for_a_password_are_no_probes() -> None:
    record(request(NOW, path="/api/login/", method="POST", status=401) for _ in range(40))
    record(request(NOW, "203.0.113.5", "/admin/", status=403) for _ in range(40))
    detection.run(NOW)
    assert blocks() == ["203.0.113.5"]


def test_many_addresses_at_one_account_are_suggested() -> None:
    record([request(NOW)])
    for number in range(11):
        LoginAttempt.objects.create(
            at=NOW, address=f"203.0.113.{number}", account="ada", outcome="FAILED", door="/"
        )
    detection.run(NOW)
    rows = flagged("stuffing")
    assert len(rows) == 11
    assert all(row.is_suggested for row in rows)
    assert blocks() == []


def test_neighbours_that_attack_together_are_proposed_as_the_smallest_network() -> None:
    record(request(NOW, f"203.0.113.{n}", ATTACK) for n in (16, 18, 20, 23) for _ in range(2))
    detection.run(NOW)
    (row,) = flagged("swarm")
    assert (row.target, row.is_suggested) == ("203.0.113.16/29", True)


def test_many_paths_that_are_missing_are_suggested() -> None:
    record(request(NOW, path=f"/missing/{n}", status=404) for n in range(21))
    detection.run(NOW)
    assert [(row.count, row.is_suggested) for row in flagged("scanning")] == [(21, True)]


def test_a_burst_stands_out_from_everybodys_minutes() -> None:
    for number in range(30):
        record(requests(10, address=f"203.0.113.{number}"))
    record(requests(90, within=50, end=NOW - timedelta(seconds=1)))
    detection.run(NOW)
    assert [row.target for row in flagged("burst")] == [CLIENT]


@pytest.mark.parametrize(
    ("mode", "rules", "suggested"),
    [
        ("OFF", [], None),
        ("SUGGEST", [], True),
        ("OBSERVE", [True], False),
        ("ENFORCE", [False], False),
    ],
)
def test_a_detector_does_what_its_mode_says(
    mode: str, rules: list[bool], suggested: bool | None, settings: Settings
) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"mode": mode}}
    record(requests(700))
    detection.run(NOW)
    assert list(AccessRule.objects.values_list("observed", flat=True)) == rules
    assert [row.is_suggested for row in flagged("flood")] == (
        [] if suggested is None else [suggested]
    )


def test_what_a_person_sets_wins_over_the_settings(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"mode": {"HIGH": "ENFORCE"}, "requests": 5}}
    DetectorMode.objects.create(detector="flood", mode="SUGGEST", changed_by="ann", changed_at=NOW)
    (flood,) = [each for each in detection.detectors() if each.name == "flood"]
    assert flood.modes[Severity.HIGH] is Mode.SUGGEST
    assert flood.thresholds["requests"] == 5


def test_a_false_positive_lifts_its_block_and_is_not_raised_again() -> None:
    record(requests(700))
    detection.run(NOW)
    (row,) = flagged("flood")
    reviews.review(Actor("ann"), row.pk, "FALSE_POSITIVE", "our own monitoring")
    assert blocks() == []
    later = NOW + timedelta(hours=2)
    record(requests(700, end=later))
    report = detection.run(later)
    assert (report.raised, report.blocked) == (0, 0)
    assert blocks() == []
    assert AuditEntry.objects.filter(action="review").count() == 1


def test_a_suggestion_is_approved_with_a_block(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"mode": "SUGGEST"}}
    record(requests(700))
    detection.run(NOW)
    (row,) = flagged("flood")
    reviews.review(Actor("ann"), row.pk, "CONFIRMED", block_for=row.duration)
    assert blocks() == [CLIENT]
    row.refresh_from_db()
    assert (row.is_suggested, row.reviewed_by, row.rule is not None) == (False, "ann", True)


def test_what_is_blocked_is_refused_at_once(client: Client) -> None:
    record(requests(700, end=datetime.now(UTC)))
    detection.run(datetime.now(UTC))
    assert client.get("/livez", REMOTE_ADDR=CLIENT).status_code == 200
    assert client.get("/admin/", REMOTE_ADDR=CLIENT).status_code == 403
    assert policy.current().matching(parse_address(CLIENT))


def test_one_client_that_sends_much_wakes_detection() -> None:
    woken: list[str] = []

    def wake(key: str, **_: object) -> None:
        woken.append(key)

    signals.threshold_crossed.connect(wake)
    try:
        record(requests(200))
    finally:
        signals.threshold_crossed.disconnect(wake)
    assert woken == [CLIENT]


def test_the_hundred_and_first_request_wakes_detection_however_soon_after_the_last_time() -> None:
    woken: list[float] = []

    def wake(delay: float, **_: object) -> None:
        woken.append(delay)

    signals.threshold_crossed.connect(wake)
    try:
        record(requests(51))
        record(requests(49))
        assert woken == [0]
        record(requests(1))
        record(requests(60))
    finally:
        signals.threshold_crossed.disconnect(wake)
    assert len(woken) == 2
    assert 0 < woken[1] <= tally.PAUSE_SECONDS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_that_is_killed_in_the_middle_is_finished_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(request(NOW, f"203.0.113.{n}", ATTACK) for n in range(120))
    connection.close()
    child = os.fork()
    if child == 0:
        settle, seen = suspicions.settle, []

        def and_die(*arguments: object) -> object:
            seen.append(arguments)
            if len(seen) == 70:
                os.kill(os.getpid(), signal.SIGKILL)
            return settle(*arguments)  # type: ignore[arg-type]

        suspicions.settle = and_die  # type: ignore[assignment]
        detection.run(NOW)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    halfway = AccessRule.objects.count()
    assert 0 < halfway < 120
    Counter.objects.filter(name=detection.LEASE).update(
        updated_at=NOW - timedelta(days=1)
    )  # its lease runs out
    detection.run(NOW)
    assert len(flagged("signatures")) == AccessRule.objects.count() == 120
    assert AuditEntry.objects.filter(action="block").count() == 120


def test_of_two_workers_at_once_one_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    record(request(NOW, f"203.0.113.{n}", ATTACK) for n in range(40))
    raised: list[object] = []

    def note(suspicion: SuspiciousIP, **_: object) -> None:
        raised.append(suspicion.target)

    def work(_: int) -> None:
        try:
            detection.run(NOW)
        except (detection.AlreadyRunning, detection.Outrun):
            pass
        finally:
            connection.close()

    signals.suspicion_raised.connect(note)
    # Without the lease they really run side by side.
    monkeypatch.setattr(detection, "LEASE_TIME", -timedelta(days=1))
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))
    finally:
        signals.suspicion_raised.disconnect(note)
    assert len(flagged("signatures")) == AccessRule.objects.count() == 40
    assert len([one for one in raised if "/" not in str(one)]) == 40


@pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled logs are not beside this checkout")
def test_on_a_labelled_log_most_attackers_and_hardly_anybody_else_are_flagged() -> None:
    call_command("ingest_log", str(SHARED / "actors.log"), verbosity=0)
    truth = json.loads((SHARED / "actors.truth.json").read_text())
    start = RequestLog.objects.earliest("at").at.replace(minute=0, second=0)
    end = RequestLog.objects.latest("at").at
    while start < end:
        start += timedelta(hours=1)
        Counter.objects.filter(name=detection.WATERMARK).update(value=0)
        detection.run(start)
    found = {row.target for row in SuspiciousIP.objects.all()}
    malicious = {address for address, facts in truth.items() if facts["malicious"]}
    alone = {address for address in truth if str(suspicions_of(address)) in found}
    assert len(alone & malicious) / len(malicious) >= 0.80
    assert len(alone & malicious) / len(alone) >= 0.95
    blocked = set(AccessRule.objects.filter(action="BLOCK").values_list("target", flat=True))
    assert not [a for a in alone & blocked if "whitelist" in truth[a]["kind"]]


def suspicions_of(address: str) -> str:
    parsed = parse_address(address)
    return (
        address
        if parsed.version == 4
        else str(parse_network(f"{address}/128").supernet(new_prefix=64))
    )
