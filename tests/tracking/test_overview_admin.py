"""The overview in the admin: who sees what, where it leads, and what it says if counting fails."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as configured
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from tests.schema.record import record, row
from tests.tracking.test_suspicion_admin import blocked, staff, suggested, suspicion
from tracking import overview
from tracking.models import RequestLog
from tracking.overviewadmin.links import as_typed
from tracking.rollups import Moved
from tracking.timebudget import OutOfTime
from users.models import User

pytestmark = pytest.mark.django_db

URL = "/admin/tracking/requestlog/overview/"
PARTS = {
    "view_requestlog": {"ov-numbers", "ov-address", "ov-path"},
    "view_suspiciousip": {"ov-suspicions"},
    "view_accessrule": {"ov-blocks"},
}
ALL = ("view_requestlog", "view_suspiciousip", "view_accessrule", "change_suspiciousip",
       "add_accessrule", "change_accessrule")  # fmt: skip
HOSTILE = "/</script><script>alert(1)</script>\"'&\u202e{{ 7 }}"


def raw(client: Client, **asked: str) -> str:
    response = client.get(URL, asked)
    assert response.status_code == 200, response
    return response.content.decode()


def page(client: Client, **asked: str) -> str:
    return " ".join(unescape(raw(client, **asked)).split())


def ids(text: str) -> set[str]:
    return set(re.findall(r'id="(ov-[a-z]+)"', text))


def links(text: str, words: str) -> list[str]:
    """Return where the links of a name lead."""
    return re.findall(rf'href="([^"]*)"[^>]*>(?:<b>[^<]*</b> )?{re.escape(words)}</a>', text)


def recent(seconds: float = 5, **facts: Any) -> RequestLog:
    return row(timezone.now() - timedelta(seconds=seconds), **facts)


@pytest.fixture
def operator() -> Client:
    return staff(*ALL)


# Who sees what


@pytest.mark.one_store
def test_strangers_and_users_who_are_no_staff_are_sent_to_the_login_page() -> None:
    assert Client().get(URL)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("permission", [None, *PARTS])
def test_each_part_is_for_who_may_see_it(permission: str | None) -> None:
    record(recent(path="/secret"))
    blocked("MANUAL")
    shown = page(staff(*([permission] if permission else [])))
    for needed, parts in PARTS.items():
        assert parts <= ids(shown) if needed == permission else not parts & ids(shown)
    assert "ov-health" in ids(shown)
    assert ("You may see neither requests nor suspicions nor rules." in shown) is not permission
    assert ("/secret" in shown) is (permission == "view_requestlog")


def test_who_sees_no_log_sees_no_evidence_and_who_may_do_nothing_gets_no_button() -> None:
    found = record(recent(path="/evidence"))
    suspicion(evidence=[found[0].pk])
    shown = page(staff("view_suspiciousip"))
    assert "198.51.100.7" in shown
    for absent in ("/evidence", "All its requests", ">Block</a>", ">False positive</a>"):
        assert absent not in shown


def test_suspicions_stand_by_target_with_their_evidence_and_the_two_buttons(
    operator: Client,
) -> None:
    found = record(*(recent(n, path=f"/try/{n}") for n in range(1, 6)))
    first = suspicion(evidence=[each.pk for each in found])
    second = suspicion(detector="flood", severity="LOW", reason="many requests")
    shown = page(operator)
    assert shown.count("<article") == 1
    assert re.findall(r"GET (/try/\d)", shown) == ["/try/1", "/try/2", "/try/3"]
    (block,) = links(shown, "Block")
    assert operator.get(block).status_code == 200
    assert block == f"/admin/tracking/suspiciousip/block/?rows={first.pk}%2C{second.pk}"
    (wrong,) = links(shown, "False positive")
    assert wrong.endswith(f"?rows={first.pk},{second.pk}".replace(",", "%2C"))
    operator.post(urlsplit(wrong).path, {"rows": f"{first.pk},{second.pk}", "note": "ours"})
    assert "nothing waits for a review" in page(operator)


def test_a_target_that_is_blocked_already_is_confirmed_and_stays_blocked(
    operator: Client,
) -> None:
    blocked("AUTOMATIC")
    suspicion(detector="flood", because="the target is blocked already")
    shown = page(operator)
    assert links(shown, "Block") == []
    assert "Blocked until" in shown
    assert "Not blocked" not in shown
    (unblock,) = links(shown, "Unblock")
    assert "Unblock" in operator.get(unblock).content.decode()
    (confirm,) = links(shown, "Confirm")
    assert operator.get(confirm).status_code == 200
    told = parse_qs(urlsplit(confirm).query)
    operator.post(urlsplit(confirm).path, {"rows": told["rows"][0], "note": ""})
    shown = page(operator)
    assert "nothing waits for a review" in shown
    assert links(shown, "Unblock") == [unblock]


@pytest.mark.one_store
def test_a_suggested_block_is_approved_from_here(operator: Client) -> None:
    found = suggested()
    shown = page(operator)
    assert "A block is suggested: a crawler" in shown
    (block,) = links(shown, "Block")
    assert block == f"/admin/tracking/suspiciousip/approve/?rows={found.pk}"


# What it says


def test_figures_lead_to_the_requests_that_they_count(operator: Client) -> None:
    record(
        *(recent(address="203.0.113.7", path="/a", country="DE") for _ in range(3)),
        recent(address="203.0.113.8", path="/b", status=403, verdict="BLOCKED"),
        recent(address="2001:db8::1", path="/b", status=429, verdict="LIMITED", limit="graphql"),
        recent(address="203.0.113.7", path="/c", status=503),
        recent(address="203.0.113.7", path="/old", seconds=26 * 3600),
    )
    shown = page(operator)
    for words, number in {
        "Requests": 6, "203.0.113.7": 4, "203.0.113.0/24": 5, "2001:db8::1": 1, "DE": 3, "/b": 2,
        "Blocked": 1, "5xx Server error": 1, "graphql": 1,
    }.items():  # fmt: skip
        (url, *_) = links(shown, words)
        listed = operator.get(url)
        assert listed.status_code == 200
        assert not listed.context["cl"].question.errors
        assert len(listed.context["cl"].result_list) == number, words
    assert "<b>2</b> Refused <span>33.3%</span>" in shown
    series = json.loads(re.findall(r'id="ov-series"[^>]*>(.*?)</script>', raw(operator))[0])
    assert sum(sum(part["numbers"]) for part in series["verdicts"]) == 6
    assert len(series["ticks"]) == len(series["statuses"][0]["numbers"]) == 24


def test_whatever_a_client_sent_is_shown_as_text(operator: Client) -> None:
    found = record(recent(path=HOSTILE, limit=HOSTILE, country="<b", verdict="LIMITED"))
    suspicion(reason=HOSTILE, because=HOSTILE, evidence=[found[0].pk])
    for asked in ({}, {"fragment": "1"}):
        shown = raw(operator, **asked)
        assert "alert(1)" in shown
        assert "<script>alert" not in shown
        assert '<b"' not in shown
        assert "\u202e" not in shown
    # The link still names the path as it is.
    hrefs = [unescape(url) for url in re.findall(r'href="([^"]*path=[^"]*)"', shown)]
    assert parse_qs(urlsplit(hrefs[0]).query)["path"] == [HOSTILE]


@pytest.mark.parametrize("period", ["hour", "day", "week"])
def test_an_empty_period_says_so_and_leads_to_the_newest_request(
    operator: Client, period: str
) -> None:
    assert "No requests are on record for this time." in page(operator, period=period)
    record(row(datetime(2015, 5, 18, 12, 34, tzinfo=UTC), path="/long-ago"))
    (url,) = links(page(operator, period=period), f"Show the {period} of the newest request")
    shown = unescape(operator.get(URL + url).content.decode())
    assert "/long-ago" in shown
    (later,) = links(shown, "Later ›")
    assert "/long-ago" not in operator.get(URL + later).content.decode()
    (earlier,) = links(unescape(operator.get(URL + later).content.decode()), "‹ Earlier")
    assert "/long-ago" in operator.get(URL + earlier).content.decode()


@pytest.mark.one_store
@pytest.mark.parametrize(
    "asked",
    [{"period": "year"}, {"at": "yesterday"}, {"at": "0001-01-01T00:00"}, {"at": "9999-12-31"}],
)
def test_a_question_that_makes_no_sense_is_answered_with_the_last_day(
    operator: Client, asked: dict[str, str]
) -> None:
    record(recent(path="/now"))
    shown = page(operator, **asked)
    assert "Shown is the last day." in shown
    assert "/now" in shown


@pytest.mark.one_store
@pytest.mark.parametrize(("error", "said"), [(OutOfTime, "Counting took longer"), (Moved, "anew")])
def test_where_counting_fails_the_page_says_so_and_shows_the_rest(
    operator: Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception], said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(overview, "look", fail)
    blocked("MANUAL")
    shown = page(operator)
    assert said in shown
    assert {"ov-suspicions", "ov-blocks", "ov-health"} <= ids(shown)
    assert "ov-address" not in ids(shown)


@pytest.mark.one_store
def test_the_hour_that_comes_twice_a_year_is_named_with_its_offset(operator: Client) -> None:
    with timezone.override("Europe/Berlin"):
        assert as_typed(datetime(2026, 10, 25, 0, 0, tzinfo=UTC)) == "2026-10-25T02:00+02:00"
        assert as_typed(datetime(2026, 10, 25, 1, 0, tzinfo=UTC)) == "2026-10-25T02:00+01:00"
        assert as_typed(datetime(2026, 10, 25, 2, 0, tzinfo=UTC)) == "2026-10-25T03:00"


# What it costs, and what a browser may load


def test_the_page_takes_the_same_queries_whatever_there_is(operator: Client) -> None:
    taken = []
    raw(operator)  # the journal, of which health tells, begins with the first request
    for number in (1, 40):
        for n in range(number):
            found = record(recent(address=f"192.0.2.{n}", path=f"/{number}/{n}"))
            blocked("MANUAL", f"198.51.{number}.{n}", evidence=[found[0].pk])
        with CaptureQueriesContext(connection) as queries:
            raw(operator, period="week")
        taken.append(len(queries))
    assert taken[0] == taken[1]
    assert taken[0] <= 40


@pytest.mark.one_store
def test_the_policy_allows_this_site_alone_and_the_page_has_nothing_inline(
    operator: Client, settings: Settings
) -> None:
    record(recent())
    policy = operator.get(URL)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src")
    shown = raw(operator)
    assert (
        re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*(?:src=|application/json))", shown)
        == []
    )
    settings.STATIC_URL = "https://static.example.net/"
    assert (
        "style-src 'self' https://static.example.net;"
        in (operator.get(URL)["Content-Security-Policy"])
    )


@pytest.mark.one_store
@pytest.mark.parametrize("has_charts", [True, False])
def test_without_the_charts_the_numbers_stand_open_as_a_table(
    operator: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, has_charts: bool
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(finders, "find", lambda name: name if has_charts else None)
    record(recent())
    shown = raw(operator)
    assert ("vendor/chart.min.js" in shown) is has_charts
    assert ('id="ov-numbers" data-part open' in shown) is not has_charts


# The way there


@pytest.fixture
def index_of_the_project(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "index.html").write_text(
        '{% extends "admin/base_site.html" %}{% block content %}our own index{% endblock %}'
    )
    settings.TEMPLATES = [{**configured.TEMPLATES[0], "DIRS": [tmp_path]}]


@pytest.mark.one_store
def test_the_first_page_of_the_admin_leads_here_for_who_may_see_something(
    operator: Client,
) -> None:
    for url in ("/admin/", "/admin/tracking/", "/admin/tracking/requestlog/"):
        assert URL in operator.get(url).content.decode(), url
    operator.force_login(User.objects.create_user("bo", is_staff=True))
    assert URL not in operator.get("/admin/").content.decode()


@pytest.mark.one_store
@pytest.mark.usefixtures("index_of_the_project")
def test_a_project_keeps_its_own_first_page(operator: Client) -> None:
    shown = operator.get("/admin/").content.decode()
    assert "our own index" in shown
    assert URL in shown
