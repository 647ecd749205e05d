"""The request log in the admin: who sees it, what it finds, what it costs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.schema.record import record, row
from tracking import admin, logpage
from tracking.models import RequestLog
from tracking.timebudget import OutOfTime
from users.models import User

pytestmark = pytest.mark.django_db

LIST = "/admin/tracking/requestlog/"


@pytest.fixture
def operator() -> Client:
    """A colleague with the one permission that the log needs."""
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_requestlog"))
    return signed_in(user)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def html(client: Client, url: str = LIST, **asked: Any) -> str:
    response = client.get(url, asked)
    assert response.status_code == 200, response
    return response.content.decode()


def paths(page: str) -> list[str]:
    return [unescape(path) for path in re.findall(r'class="field-short_path">([^<]*)<', page)]


def found(client: Client, **asked: Any) -> list[str]:
    return paths(html(client, **asked))


def link(page: str, text: str) -> str | None:
    match = re.search(rf'<a href="([^"]*)"[^>]*>{text}</a>', page)
    return LIST + unescape(match[1]) if match else None


def walked(client: Client, text: str = "Older", **asked: Any) -> list[str]:
    """Return the paths of all pages, from the first along the links."""
    page, result = html(client, **asked), []
    while True:
        result += paths(page)
        onward = link(page, text) or link(page, "Older")
        if onward is None:
            return result
        page = html(client, onward)


# Who may look, and do what


def test_a_stranger_is_sent_to_the_login_page() -> None:
    response = Client().get(LIST)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_staff_without_the_permission_see_neither_list_nor_request() -> None:
    (request,) = record(row())
    client = signed_in(User.objects.create_user("colleague", is_staff=True))
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{request.pk}/change/").status_code == 403


@pytest.mark.parametrize("action", ["add/", "{pk}/change/", "{pk}/delete/", ""])
def test_not_even_a_superuser_can_change_the_log(action: str) -> None:
    (request,) = record(row(path="/before"))
    client = signed_in(User.objects.create_superuser("root"))
    form = {"path": "/after", "post": "yes", "action": "delete_selected", "_selected_action": "1"}
    response = client.post(LIST + action.format(pk=request.pk), form)
    assert response.status_code == 403 or not action
    assert list(RequestLog.objects.values_list("path")) == [("/before",)]


def test_a_page_offers_neither_changes_nor_an_order_without_an_index(operator: Client) -> None:
    (request,) = record(row())
    for url in (LIST, f"{LIST}{request.pk}/change/"):
        page = html(operator, url)
        assert "addlink" not in page
        assert "?o=" not in page
        assert 'name="action"' not in page
        assert 'name="_save"' not in page
        assert "deletelink" not in page


# What is shown


def test_every_column_stands_on_the_page_of_a_request(operator: Client) -> None:
    (request,) = record(row(1.000007, asn=64500, city="Oslo", tags="sqli xss", operations="Q f"))
    page = html(operator, f"{LIST}{request.pk}/change/")
    elsewhere = {"at": "time", "recorded_at": "recorded"}
    for field in RequestLog._meta.concrete_fields:
        assert f"field-{elsewhere.get(field.name, field.name)}" in page
    for value in ("2026-05-17 12:00:01.000007", "64500", "Oslo", "sqli, xss", "Q, f"):
        assert value in page


def test_whatever_a_client_sent_is_shown_as_text(operator: Client) -> None:
    hostile = "/<script>alert(1)</script>\"'&\u202egpj.exe\u2066\x1b[2J\\x00\u200b"
    texts = ("path", "normal_path", "user_agent", "referer", "username", "host", "source")
    (request,) = record(row(**dict.fromkeys(texts, hostile)))
    for url in (LIST, f"{LIST}{request.pk}/change/"):
        page = html(operator, url)
        assert "<script>alert" not in page
        assert not set("\u202e\u2066\u200b\x1b") & set(page)
        assert r"\u202egpj.exe\u2066\x1b[2J\x00\u200b" in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;" in page


def test_a_very_long_path_is_cut_in_the_list_and_whole_on_its_page(operator: Client) -> None:
    (request,) = record(row(path="/" + "a" * 2000))
    assert "a" * 200 not in html(operator)
    assert "a" * 2000 in html(operator, f"{LIST}{request.pk}/change/")


@pytest.mark.parametrize("pk", ["abc", "0", "9" * 30, "-1", "_5Cx"])
def test_a_request_that_is_not_there_is_said_to_be_missing(operator: Client, pk: str) -> None:
    response = operator.get(f"{LIST}{pk}/change/", follow=True)
    assert response.redirect_chain
    assert "doesn’t exist" in response.content.decode()


# Pages


def test_the_pages_together_hold_each_request_once_the_newest_first(operator: Client) -> None:
    # Many at the same instant: the number of a request has the last word.
    record(*(row(n // 40, path=f"/{n:03}") for n in range(130)))
    assert walked(operator) == [f"/{n:03}" for n in reversed(range(130))]


def test_a_full_last_page_leads_nowhere(operator: Client) -> None:
    record(*(row(n) for n in range(logpage.PAGE)))
    assert link(html(operator), "Older") is None


def test_requests_that_arrive_meanwhile_neither_repeat_nor_hide_others(operator: Client) -> None:
    record(*(row(n, path=f"/{n:03}") for n in range(60)))
    onward = link(html(operator), "Older")
    record(*(row(100 + n, path="/new") for n in range(20)))
    assert onward is not None
    assert paths(html(operator, onward)) == [f"/{n:03}" for n in reversed(range(10))]


# Filters

MIXED: tuple[dict[str, Any], ...] = (
    {"at": 0, "path": "/a", "address": "192.0.2.7", "country": "DE", "status": 200},
    {"at": 60, "path": "/b", "address": "192.0.2.200", "verdict": "BLOCKED", "status": 403},
    {"at": 120, "path": "/c", "address": "2001:db8::5", "username": "Anna", "status": 500},
    {"at": 180, "path": "/A/d", "address": "10.1.2.3", "source": "access.log", "status": 404},
    {"at": 240, "path": "/%_", "request_id": "f" * 32, "verdict": "LIMITED", "status": 429},
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["/%_", "/A/d", "/c", "/b", "/a"]),
        ({"network": "192.0.2.7"}, ["/a"]),
        ({"network": "::ffff:192.0.2.7"}, ["/a"]),
        ({"network": "192.0.2.128/25"}, ["/b"]),
        ({"network": "2001:db8::/32"}, ["/c"]),
        ({"network": "0.0.0.0/0"}, ["/%_", "/A/d", "/b", "/a"]),
        ({"network": "203.0.113.9"}, []),
        ({"country": "de"}, ["/a"]),
        ({"status_class": "4"}, ["/%_", "/A/d", "/b"]),
        ({"verdict": "BLOCKED"}, ["/b"]),
        ({"verdict": "REFUSED"}, ["/%_", "/b"]),
        ({"verdict": "ALLOWED"}, ["/A/d", "/c", "/a"]),
        ({"username": "Anna"}, ["/c"]),
        ({"username": "anna"}, []),
        ({"source": "access.log"}, ["/A/d"]),
        ({"path": "/a"}, ["/a"]),
        ({"path": "/%_"}, ["/%_"]),
        ({"request_id": "f" * 32}, ["/%_"]),
        ({"request_id": "f" * 32, "verdict": "BLOCKED"}, []),
        ({"since": "2026-05-17T12:01", "until": "2026-05-17T12:03:00"}, ["/c", "/b"]),
        ({"network": "192.0.2.0/24", "status_class": "2"}, ["/a"]),
    ],
)
def test_a_filter_finds_what_it_says(
    operator: Client, asked: dict[str, str], expected: list[str]
) -> None:
    record(*(row(**columns) for columns in MIXED))
    # The default address of a row would hide what the fifth one is there for.
    RequestLog.objects.filter(path="/%_").update(address="198.51.100.1")
    assert found(operator, **asked) == expected


@pytest.mark.parametrize("few", [0, 1, 100])
def test_a_network_is_found_whether_it_sent_few_requests_or_many(
    operator: Client, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(logpage, "FEW", few)
    record(*(row(n, address=f"10.0.{n % 2}.{n}", path=f"/{n}") for n in range(6)))
    assert found(operator, network="10.0.1.0/24") == ["/5", "/3", "/1"]


def test_a_filter_that_finds_little_says_how_far_back_it_looked_and_goes_on_from_there(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpage, "SCAN", 10)
    record(*(row(n, path=f"/{n}", country="IS" if n % 17 == 3 else "DE") for n in range(40)))
    page = html(operator, country="IS")
    assert paths(page) == ["/37"]
    assert "Looked back to 2026-05-17 12:00:30." in page
    assert walked(operator, "Look further back", country="IS") == ["/37", "/20", "/3"]


def test_a_full_page_goes_on_below_its_last_request_and_not_below_what_was_looked_at(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpage, "SCAN", 120)
    record(*(row(n, path=f"/{n:03}", country="IS") for n in range(150)))
    assert walked(operator, "Look further back", country="IS") == [
        f"/{n:03}" for n in reversed(range(150))
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"network": "10.0.0.0/33"}, "this prefix length is outside the address"),
        ({"network": "10.0.0.1/8"}, "write 10.0.0.0/8 or the address alone"),
        ({"network": "<script>"}, "is not an address"),
        ({"network": "1" * 5000}, "longer than any address"),
        ({"country": "Germany"}, "two letters"),
        ({"country": "D\n"}, "two letters"),
        ({"since": "yesterday"}, "Enter a valid date/time"),
        ({"since": "0001-01-01T00:00"}, "between 1971 and 2999"),
        ({"until": "9999-12-31T23:59:59"}, "between 1971 and 2999"),
        ({"status_class": "9"}, "Select a valid choice"),
        ({"verdict": "' OR 1=1"}, "Select a valid choice"),
        ({"path": "/\x00"}, "Null characters are not allowed"),
        ({"username": "x" * 300}, "at most 255 characters"),
        ({"older": "x"}, "This link to older requests is damaged"),
        ({"older": "9" * 18 + "-1"}, "This link to older requests is damaged"),
        ({"older": "1-" + "9" * 30}, "This link to older requests is damaged"),
    ],
)
def test_a_filter_that_cannot_be_used_says_so_and_finds_nothing(
    operator: Client, asked: dict[str, str], message: str
) -> None:
    record(row())
    page = html(operator, **asked)
    assert message in unescape(page)
    assert "Nothing was looked for" in page
    assert paths(page) == []
    assert "<script>'" not in page


@pytest.mark.parametrize(
    "asked",
    [
        {"p": "99999"},
        {"o": "4.-2"},
        {"all": ""},
        {"q": "x"},
        {"e": "1"},
        {"_facets": "True"},
        {"path__regex": "(a+)+$"},
        {"at__year": "x"},
        {"since": "", "country": ""},
    ],
)
def test_the_admins_own_parameters_change_nothing(operator: Client, asked: dict[str, str]) -> None:
    record(row(0, path="/b"), row(1, path="/a"))
    assert found(operator, **asked) == ["/a", "/b"]


def test_a_question_that_takes_too_long_says_what_to_narrow(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(asked: object) -> None:
        raise OutOfTime

    monkeypatch.setattr(admin, "find", slow)
    assert "Ask for a shorter time, or for one address." in html(operator, country="DE")


# What it costs

QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"older": "1779019200000000-500"},
    {"since": "2026-05-17T12:00", "until": "2026-05-17T13:00"},
    {"network": "192.0.2.1"},
    {"network": "192.0.2.1", "verdict": "BLOCKED", "path": "/x"},
    {"network": "192.0.2.0/24"},
    {"network": "0.0.0.0/1", "country": "DE"},
    {"country": "DE"},
    {"status_class": "5"},
    {"verdict": "ALLOWED"},
    {"verdict": "BLOCKED"},
    {"verdict": "REFUSED"},
    {"source": "live"},
    {"username": "anna"},
    {"path": "/x"},
    {"request_id": "0" * 32},
)


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("few", [0, 2000])
def test_no_question_counts_the_log_or_reads_it_without_an_index(
    operator: Client, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], few: int
) -> None:
    monkeypatch.setattr(logpage, "SCAN", 20)
    monkeypatch.setattr(logpage, "FEW", few)
    record(*(row(n, country="DE") for n in range(60)))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        html(operator, **asked)
    asks = [q["sql"] for q in queries if 'FROM "tracking_requestlog"' in q["sql"]]
    assert 1 <= len(asks) <= 3
    for sql in asks:
        assert "COUNT(" not in sql
        assert "LIMIT" in sql
        if connection.vendor == "sqlite":  # PostgreSQL reads so small a table whole
            assert_indexed(sql)


def assert_indexed(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        plan = [step[3] for step in cursor.fetchall()]
    sorts = "INTEGER PRIMARY KEY" in plan[0] or "requestlog_request_id" in plan[0]
    assert " INDEX requestlog_" in plan[0] or "INTEGER PRIMARY KEY" in plan[0], plan
    assert sorts or not any("TEMP B-TREE" in step for step in plan), plan


def test_a_list_takes_the_same_queries_for_one_request_as_for_a_full_page(operator: Client) -> None:
    record(row())
    with CaptureQueriesContext(connection) as few:
        html(operator, country="DE")
    record(*(row(n, country="DE") for n in range(200)))
    with CaptureQueriesContext(connection) as many:
        html(operator, country="DE")
    assert len(many) == len(few)


def test_the_position_of_a_request_survives_being_written_and_read() -> None:
    for moment in (datetime(1969, 7, 20, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)):
        position = logpage.Position(moment, 42)
        assert logpage.Position.read(str(position)) == position
