"""Suspicions and runs in the admin: who sees and reviews them, and what cannot be done."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.schema.record import record, row
from tracking import blocklist
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.models import AccessRule, AuditEntry, DetectionRun, RequestLog, SuspiciousIP
from tracking.proposals import Proposal
from users.models import User

pytestmark = pytest.mark.django_db

LIST = "/admin/tracking/suspiciousip/"
RUNS = "/admin/tracking/detectionrun/"
REVIEWS = ("confirm", "false_positive", "ignore", "reopen")
VERBS = ("approve", "block", *REVIEWS)
TARGET = "198.51.100.7"


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("ana", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def looker() -> Client:
    return staff("view_suspiciousip", "view_detectionrun")


@pytest.fixture
def analyst() -> Client:
    return staff("view_suspiciousip", "change_suspiciousip", "add_accessrule", "view_requestlog")


def suspicion(target: str = TARGET, **facts: Any) -> SuspiciousIP:
    now = timezone.now()
    network = read_target(target).network
    assert network is not None
    defaults: dict[str, Any] = {
        "target": target,
        "first": str(network[0]),
        "prefix": network.prefixlen,
        "detector": "swarm",
        "reason": "12 requests with attacks",
        "severity": "HIGH",
        "count": 12,
        "threshold": 8,
        "window_start": now - timedelta(minutes=9),
        "window_end": now,
        "first_seen": now - timedelta(minutes=9),
        "last_seen": now,
    }
    return SuspiciousIP.objects.create(**(defaults | facts))


def suggested(target: str = TARGET, **facts: Any) -> SuspiciousIP:
    told = {"is_suggested": True, "duration": timedelta(hours=4), "because": "a crawler"}
    return suspicion(target, **(told | facts))


def blocked(origin: str, target: str = TARGET, **facts: Any) -> SuspiciousIP:
    proposal = Proposal(
        target=read_target(target),
        action=RuleAction.BLOCK,
        origin=AccessRule.Origin(origin),
        expires_at=timezone.now() + timedelta(hours=1),
    )
    return suspicion(target, rule=blocklist.block(COMMAND_LINE, proposal), **facts)


def page(client: Client, url: str = LIST, **asked: Any) -> str:
    response = client.get(url, asked or None)
    assert response.status_code == 200, response
    return unescape(response.content.decode())


def targets(client: Client, **asked: Any) -> set[str]:
    found = re.findall(r'class="field-whom[^>]*>(.*?)</th>', page(client, LIST, **asked))
    return {re.sub("<[^>]*>", "", cell) for cell in found}


def review(client: Client, verb: str, *rows: SuspiciousIP, **told: str) -> str:
    """Answer the page that asks for a note; return the page that follows."""
    chosen = {"rows": ",".join(str(each.pk) for each in rows)}
    response = client.post(f"{LIST}{verb}/", chosen | told, follow=True)
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_a_stranger_is_sent_to_the_login_page() -> None:
    for url in (LIST, RUNS, f"{LIST}approve/?rows=1"):
        assert Client().get(url)["Location"].startswith("/admin/login/")


def test_staff_without_permissions_may_do_nothing() -> None:
    found, client = suggested(), staff("view_requestlog", "add_accessrule")
    for url in (LIST, RUNS, f"{LIST}{found.pk}/change/"):
        assert client.get(url).status_code in {302, 403}, url
    for verb in VERBS:
        assert client.post(f"{LIST}{verb}/", {"rows": found.pk}).status_code == 403
    found.refresh_from_db()
    assert (found.status, found.is_suggested) == ("OPEN", True)


def test_who_may_only_look_reviews_nothing(looker: Client) -> None:
    found = suggested()
    shown = page(looker) + page(looker, f"{LIST}{found.pk}/change/")
    assert TARGET in shown
    assert "False positive</a>" not in shown
    assert 'name="action"' not in shown
    for verb in VERBS:
        assert looker.get(f"{LIST}{verb}/?rows={found.pk}").status_code == 403
        assert looker.post(f"{LIST}{verb}/", {"rows": found.pk}).status_code == 403
        looker.post(LIST, {"action": verb, "_selected_action": found.pk})
    found.refresh_from_db()
    assert found.status == "OPEN"
    assert not AccessRule.objects.exists()


def test_who_reviews_may_not_block_without_that_permission() -> None:
    found, client = suggested(), staff("view_suspiciousip", "change_suspiciousip")
    assert "Approve suggestion" not in page(client, f"{LIST}{found.pk}/change/")
    assert client.post(f"{LIST}approve/", {"rows": found.pk}).status_code == 403
    assert not AccessRule.objects.exists()
    review(client, "confirm", found)
    found.refresh_from_db()
    assert found.status == "CONFIRMED"


def test_nobody_adds_edits_or_deletes(admin_client: Client) -> None:
    found = suspicion()
    run = DetectionRun.objects.create(
        now=timezone.now(), started_at=timezone.now(), after_row=0, upto_row=9
    )
    for url, pk in ((LIST, found.pk), (RUNS, run.pk)):
        assert admin_client.get(f"{url}add/").status_code == 403
        assert admin_client.post(f"{url}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin_client.post(f"{url}{pk}/change/", {"status": "IGNORED"}).status_code == 403
        assert "delete_selected" not in page(admin_client, url)
    found.refresh_from_db()
    assert found.status == "OPEN"


def test_the_list_shows_what_is_open_and_what_was_done(looker: Client) -> None:
    suggested()
    blocked("AUTOMATIC", "198.51.100.8")
    suspicion("198.51.100.9", because="it takes more for a block")
    suspicion("198.51.100.10", status="CONFIRMED")
    text = page(looker)
    assert "a block for 4:00:00 is suggested: a crawler" in text
    assert "blocked until " in text
    assert "no block: it takes more for a block" in text
    assert targets(looker) == {TARGET, "198.51.100.8", "198.51.100.9"}
    assert targets(looker, status="CONFIRMED") == {"198.51.100.10"}
    assert len(targets(looker, status="any")) == 4
    assert targets(looker, is_suggested__exact="1") == {TARGET}
    assert targets(looker, detector="flood") == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("198.51.100.7", {"198.51.100.7"}),
        ("198.51.100.0/24", {"198.51.100.7"}),
        ("203.0.113.200", {"203.0.113.128/25"}),
        ("203.0.113.0/24", {"203.0.113.128/25"}),
        ("2001:db8::5", {"2001:db8::/64"}),
        ("TWELVE", {"2001:db8::/64"}),
        ("of last year", {"203.0.113.128/25"}),
        ("192.0.2.1", set()),
        ("<script>", set()),
    ],
)
def test_suspicions_are_found_by_address_and_text(
    looker: Client, text: str, found: set[str]
) -> None:
    suspicion()
    suspicion("203.0.113.128/25", note="as of last year")
    suspicion("2001:db8::/64", reason="twelve requests")
    assert targets(looker, q=text) == found


def test_the_page_of_one_leads_to_the_requests_behind_it(analyst: Client) -> None:
    at = timezone.now()
    kept, _ = record(row(at, path="/<b>etc"), row(at, path="/gone"))
    numbers = list(RequestLog.objects.order_by("pk").values_list("pk", flat=True))
    RequestLog.objects.filter(pk=numbers[1]).delete()
    found = suspicion(evidence=numbers)
    response = analyst.get(f"{LIST}{found.pk}/change/").content.decode()
    assert f'href="/admin/tracking/requestlog/{numbers[0]}/change/"' in response
    assert "/&lt;b&gt;etc" in response
    assert "/gone" not in response
    assert kept.path == "/<b>etc"


def test_the_page_of_one_tells_when_it_was_seen_first(looker: Client) -> None:
    found = suspicion(first_seen=timezone.now() - timedelta(days=3))
    first = f"{timezone.localtime(found.first_seen):%Y-%m-%d %H:%M:%S}"
    assert first in page(looker, f"{LIST}{found.pk}/change/")


def test_requests_are_shown_only_to_who_may_see_the_log(looker: Client) -> None:
    record(row(timezone.now(), path="/secret"))
    found = suspicion(evidence=[RequestLog.objects.get().pk])
    assert "/secret" not in page(looker, f"{LIST}{found.pk}/change/")


def test_a_suggestion_is_approved_with_a_note(analyst: Client) -> None:
    found = suggested()
    assert "Approve suggestion</a>" in page(analyst, f"{LIST}{found.pk}/change/")
    assert TARGET in page(analyst, f"{LIST}approve/?rows={found.pk}")
    assert not AccessRule.objects.exists()
    assert "Approve suggestion: 1 done." in review(analyst, "approve", found, note="seen before")
    found.refresh_from_db()
    assert (found.status, found.note, found.reviewed_by) == ("CONFIRMED", "seen before", "ana")
    assert not found.is_suggested
    rule = AccessRule.objects.get()
    assert (rule.target, rule.created_by, rule.origin) == (TARGET, "ana", "MANUAL")
    assert rule.expires_at is not None
    assert abs(rule.expires_at - timezone.now() - timedelta(hours=4)) < timedelta(minutes=1)
    entry = AuditEntry.objects.get(action="review")
    assert (entry.actor, entry.address) == ("ana", "127.0.0.1")


def test_what_nobody_suggested_is_blocked_and_let_in_again_as_false(analyst: Client) -> None:
    found = suspicion()
    assert "Confirm and block: 1 done." in review(analyst, "block", found, duration="2h")
    found.refresh_from_db()
    rule = AccessRule.objects.get()
    assert (found.status, found.rule) == ("CONFIRMED", rule)
    assert "there is nothing to do" in review(analyst, "block", found)
    lifter = User.objects.get(username="ana")
    lifter.user_permissions.add(Permission.objects.get(codename="change_accessrule"))
    assert "False positive: 1 done." in review(analyst, "false_positive", found)
    rule.refresh_from_db()
    assert not rule.is_live(timezone.now())


def test_a_suggestion_may_last_another_time(analyst: Client) -> None:
    review(analyst, "approve", suggested(), duration="7d")
    rule = AccessRule.objects.get()
    assert rule.expires_at is not None
    assert rule.expires_at - timezone.now() > timedelta(days=6)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        ("soon", "is no duration: write it like"),
        ("until lifted", "A block of a suspicion ends"),
        ("9999w", "is longer than anybody can wait"),
        ("999999999d", "is longer than anybody can wait"),
    ],
)
def test_a_duration_that_is_none_is_said(analyst: Client, duration: str, words: str) -> None:
    assert words in review(analyst, "approve", suggested(), duration=duration)
    assert not AccessRule.objects.exists()


@pytest.mark.parametrize(
    ("verb", "status"), [("false_positive", "FALSE_POSITIVE"), ("ignore", "IGNORED")]
)
def test_what_is_false_or_ignored_lifts_its_automatic_block(
    analyst: Client, verb: str, status: str
) -> None:
    found = blocked("AUTOMATIC")
    review(analyst, verb, found, note="our partner")
    found.refresh_from_db()
    assert (found.status, found.note) == (status, "our partner")
    assert AccessRule.objects.get().ended_at is not None


def test_a_block_that_a_person_made_is_lifted_only_by_who_may(analyst: Client) -> None:
    found = blocked("MANUAL")
    assert "you may not lift that" in review(analyst, "false_positive", found)
    found.refresh_from_db()
    assert found.status == "OPEN"
    assert AccessRule.objects.get().ended_at is None
    permission = Permission.objects.get(codename="change_accessrule")
    User.objects.get(username="ana").user_permissions.add(permission)
    review(analyst, "false_positive", found)
    assert AccessRule.objects.get().ended_at is not None


def test_many_are_reviewed_at_once_from_the_list(analyst: Client) -> None:
    rows = [suspicion(f"198.51.100.{n}") for n in range(3)]
    chosen = {"action": "ignore", "_selected_action": [each.pk for each in rows]}
    asked = analyst.post(LIST, chosen)
    assert asked.status_code == 200
    assert not SuspiciousIP.objects.exclude(status="OPEN").exists()
    assert 'action="/admin/tracking/suspiciousip/ignore/"' in asked.content.decode()
    assert "Ignore: 3 done." in review(analyst, "ignore", *rows)
    assert SuspiciousIP.objects.filter(status="IGNORED", note="").count() == 3


def test_what_cannot_be_done_to_one_is_done_to_the_others(analyst: Client) -> None:
    good, bad = suggested(), suggested("127.0.0.1")
    text = review(analyst, "approve", good, bad)
    assert "Approve suggestion: 1 done." in text
    assert "127.0.0.1: This would lock out 127.0.0.1" in text
    assert f'name="rows" value="{bad.pk}"' in text
    bad.refresh_from_db()
    assert (bad.status, bad.is_suggested) == ("OPEN", True)


def test_a_review_can_be_taken_back_unless_there_is_a_newer_suspicion(analyst: Client) -> None:
    old = suspicion(status="IGNORED")
    review(analyst, "reopen", old)
    old.refresh_from_db()
    assert old.status == "OPEN"
    review(analyst, "ignore", old)
    suspicion()
    assert "There is a newer open suspicion" in review(analyst, "reopen", old)


def test_the_note_stays_where_none_is_written(analyst: Client) -> None:
    found = suspicion(note="ask Ben")
    review(analyst, "confirm", found)
    found.refresh_from_db()
    assert found.note == "ask Ben"


@pytest.mark.parametrize("rows", ["", "abc", "999", "-1", "1" * 40, "1,,2", "٣"])
def test_rows_that_are_none_change_nothing(analyst: Client, rows: str) -> None:
    response = analyst.post(f"{LIST}confirm/", {"rows": rows}, follow=True)
    assert "there is nothing to do" in response.content.decode()


def test_reviewing_twice_says_that_there_is_nothing_to_do(analyst: Client) -> None:
    found = suggested()
    review(analyst, "approve", found)
    assert "there is nothing to do" in review(analyst, "approve", found)
    assert AccessRule.objects.count() == 1


def test_a_review_needs_the_token_of_its_page() -> None:
    found = suspicion()
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(f"{LIST}confirm/", {"rows": found.pk}).status_code == 403
    assert client.get(f"{LIST}confirm/?rows={found.pk}").status_code == 200
    found.refresh_from_db()
    assert found.status == "OPEN"


def test_texts_of_attackers_are_texts(looker: Client) -> None:
    suspicion(reason="such as /<script>alert(1)</script>\u202e")
    text = looker.get(LIST).content.decode()
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text


def test_runs_are_listed_with_the_last_and_the_next(looker: Client) -> None:
    for url in (LIST, RUNS):
        assert "Detection has not run yet." in page(looker, url)
    at = timezone.now()
    DetectionRun.objects.create(
        now=at, started_at=at, trigger="every minute", after_row=5, upto_row=9, findings=2
    )
    for url in (LIST, RUNS):
        assert "Last run " in page(looker, url)
        assert "next run " in page(looker, url)
        assert "errornote" not in page(looker, url)
    assert "every minute" in page(looker, RUNS)


def test_a_detection_that_is_late_is_said(looker: Client) -> None:
    record(row(timezone.now()))
    RequestLog.objects.update(recorded_at=timezone.now() - timedelta(minutes=9))
    at = timezone.now() - timedelta(minutes=8)
    DetectionRun.objects.create(now=at, started_at=at, after_row=0, upto_row=0)
    text = page(looker)
    assert "Detection is late: is the Huey worker running?" in text
    assert "errornote" in text


def test_a_list_asks_no_question_for_each_row(looker: Client) -> None:
    def questions() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            page(looker)
        return len(asked)

    blocked("AUTOMATIC")
    few = questions()
    for n in range(8, 20):
        blocked("AUTOMATIC", f"198.51.100.{n}")
    assert questions() == few
