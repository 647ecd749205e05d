"""Exports over GraphQL: the link, who can make and open it, and the file that comes."""

from __future__ import annotations

import csv
import gc
import io
import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha512
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.core import signing
from django.db import connection
from django.test import AsyncClient, Client
from pytest_django import Settings
from time_machine import TimeMachineFixture

from schema.root import schema
from tests.schema.record import ask, reader, record, refused, row, told
from tests.tracking.test_export_command import going_away_after
from tracking import attachment, drainer, export
from tracking.models import AuditEntry, RequestLog
from users.models import User

pytestmark = pytest.mark.django_db

EXPORT = """mutation ($input: ExportLogsInput!) {
    exportLogs(input: $input) { url expiresAt errors { code message path } } }"""


def made(client: Client, **wanted: Any) -> dict[str, Any]:
    """Return the payload of exportLogs, whose input is `wanted`."""
    payload: dict[str, Any] = told(client, EXPORT, input=wanted)["exportLogs"]
    return payload


def link(client: Client, **wanted: Any) -> str:
    payload = made(client, **wanted)
    assert payload["errors"] == []
    url: str = payload["url"]
    return url


def opened(url: str) -> Any:
    """Return the answer to somebody who has nothing but the link."""
    return Client().get(url)


def body(response: Any) -> str:
    assert response.status_code == 200, response.content
    return b"".join(response).decode()


def refusal(response: Any) -> str:
    """Return the code of a problem, which no cache keeps."""
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    return str(response.json()["code"])


def paths(text: str) -> list[str]:
    return [each["path"] for each in csv.DictReader(io.StringIO(text, newline=""))]


# The file


def test_a_link_alone_opens_the_file_as_a_download_that_nobody_keeps_or_names() -> None:
    record(row(1, path="/late"), row(0, path="/early"), row(2, path="/other", status=404))
    url = link(reader(), filter={"status": {"lte": 399}})
    assert url.startswith("http://testserver/api/export?token=")
    response = opened(url)
    assert paths(body(response)) == ["/early", "/late"]
    assert response["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert response["Content-Disposition"].startswith('attachment; filename="requests-20')
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response


def test_json_lines_are_what_graphql_answers() -> None:
    client = reader()
    kind = schema.core.type_map["RequestLog"]
    assert set(export.FIELDS) == set(kind.fields)  # type: ignore[attr-defined]
    record(
        row(0, country="DE", city="Köln", asn=64500, username="ada", tags=("sqli", "xss")),
        row(1, user_agent="=1", referer="\u2028", operations=("Q", "me"), limit="graphql"),
    )
    fields = " ".join(sorted(set(export.FIELDS) - {"rule"}))
    nodes = told(client, f"{{ requestLogs(order: {{direction: ASC}}) {{ nodes {{ {fields} }} }} }}")
    lines = body(opened(link(client, format="JSON_LINES"))).split("\n")
    told_lines = [json.loads(line) for line in lines if line]
    assert [each.pop("rule") for each in told_lines] == [None, None]
    assert told_lines == nodes["requestLogs"]["nodes"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"at": {"gte": "2026-05-17T14:00:01+02:00", "lt": "2026-05-17T12:00:03Z"}},
        {"address": "192.0.2.7", "method": ["GET", "PUT"], "username": ""},
        {"network": "2001:db8::/32", "country": ["de"], "asn": [64500]},
        {"OR": [{"path": {"startsWith": "/2"}}, {"verdict": ["BLOCKED", "LIMITED"]}]},
        {
            "AND": [
                {"NOT": {"status": {"gte": 400}}},
                {"OR": [{"tag": ["xss"]}, {"source": "live"}]},
            ]
        },
        {"operation": "me", "path": {"contains": "'"}, "at": {"gte": "2026-05-01T00:00:00Z"}},
        {"country": [], "OR": []},
        {"NOT": {}, "path": None},
    ],
)
def test_a_link_finds_what_the_filter_finds(asked: dict[str, Any]) -> None:
    client = reader()
    record(
        row(0, path="/0", address="192.0.2.7", verdict="BLOCKED", status=403),
        row(1, path="/1", address="2001:db8::1", country="DE", asn=64500, tags=("xss",)),
        row(2, path="/2", username="ada"),
        row(3, path="/3'", operations=("Q", "me")),
    )
    query = """query ($filter: RequestLogFilter) {
        requestLogs(filter: $filter, order: {direction: ASC}) { nodes { path } } }"""
    nodes = told(client, query, filter=asked)["requestLogs"]["nodes"]
    assert paths(body(opened(link(client, filter=asked)))) == [node["path"] for node in nodes]


def test_each_use_of_a_link_is_in_the_audit_log_and_in_the_record() -> None:
    url = link(reader(), filter={"verdict": ["BLOCKED"], "NOT": {"tag": ["xss"]}})
    assert not AuditEntry.objects.exists()
    for _ in range(2):
        body(opened(url))
    entry = AuditEntry.objects.latest("id")
    assert AuditEntry.objects.count() == 2
    assert (entry.actor, entry.action, entry.address) == ("reader", "export", "127.0.0.1")
    assert entry.actor_pk == str(User.objects.get().pk)
    assert entry.after == {
        "format": "CSV",
        "filter": {"verdict": ["BLOCKED"], "NOT": {"tag": ["xss"]}},
    }


def test_the_token_of_a_link_stays_out_of_the_record(settings: Settings) -> None:
    settings.TRACKING_LOG_QUERY_STRING = True
    url = link(reader())
    body(Client().get(url, headers={"referer": url}))
    drainer.drain()
    seen = RequestLog.objects.get(path="/api/export")
    assert (seen.query, seen.username) == ("token=[redacted]", "reader")
    (token,) = parse_qs(urlsplit(url).query)["token"]
    columns = " ".join(map(str, RequestLog.objects.filter(pk=seen.pk).values_list().get()))
    assert token.split(":")[2] not in columns


# Who can make a link is for authorization.csv to say; here is who can open one


def test_a_link_is_over_after_five_minutes(time_machine: TimeMachineFixture) -> None:
    time_machine.move_to("2026-11-22T10:00:00Z", tick=False)
    payload = made(reader())
    assert payload["expiresAt"] == "2026-11-22T10:05:00.000000Z"
    time_machine.shift(timedelta(minutes=5))
    assert opened(payload["url"]).status_code == 200
    time_machine.shift(timedelta(seconds=1))
    assert refusal(opened(payload["url"])) == "TOKEN_EXPIRED"


def other_password(user: User) -> None:
    user.set_password("another")
    user.save()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda user: User.objects.filter(pk=user.pk).update(is_active=False), "FORBIDDEN"),
        (lambda user: user.user_permissions.clear(), "FORBIDDEN"),
        (lambda user: user.delete(), "INVALID_TOKEN"),
        (other_password, "INVALID_TOKEN"),
    ],
    ids=["deactivated", "without the permission", "deleted", "with another password"],
)
def test_who_may_is_asked_again_when_a_link_is_opened(
    change: Callable[[User], Any], code: str
) -> None:
    url = link(reader())
    change(User.objects.get())
    assert refusal(opened(url)) == code
    assert not AuditEntry.objects.exists()


def test_nobody_can_write_a_link_or_make_another_of_it() -> None:
    client = reader()
    mighty = User.objects.create_superuser("mighty")
    mighty_facts = [mighty.pk, "0" * 16, "csv", {}]
    token = parse_qs(urlsplit(link(client)).query)["token"][0]
    facts, at, mac = token.split(":")
    other = parse_qs(urlsplit(link(client, format="JSON_LINES")).query)["token"][0].split(":")
    forged = [
        *("", "x", "::", token[:-1], token + "x", f"{facts}:{at}:", f"{facts}:{mac}", "é" * 9),
        f"{facts}:zzzzzz:{mac}",  # a later time
        f"{other[0]}:{at}:{mac}",  # another's facts
        signing.dumps(mighty_facts, key="guessed", salt="schema.links"),
        signing.dumps(mighty_facts, salt="something else that this service signs"),
        "x" * 7000,
        "\0",
    ]
    for text in forged:
        assert refusal(Client().get("/api/export", {"token": text})) == "INVALID_TOKEN"
    assert refusal(Client().get("/api/export")) == "INVALID_TOKEN"
    assert not AuditEntry.objects.exists()


def test_a_link_acts_for_its_user_whoever_opens_it() -> None:
    url = link(reader())
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger"))
    assert stranger.get(url).status_code == 200
    assert AuditEntry.objects.get().actor == "reader"


def test_a_link_is_for_a_get_alone() -> None:
    url = link(reader())
    assert [Client().head(url).status_code, Client().post(url).status_code] == [405, 405]
    assert not AuditEntry.objects.exists()


# What the mutation refuses


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"tag": ["two words"]}, "not one word"),
        ({"NOT": {"NOT": {"NOT": {"NOT": {"NOT": {}}}}}}, "at most 5"),
        ({"asn": list(range(300))}, "at most 200"),
        ({"username": "\0"}, "NUL"),
        ({"OR": [{"username": sha512(b"%d" % n).hexdigest()} for n in range(100)]}, "too long"),
    ],
    ids=["tag", "deep", "big", "NUL", "long"],
)
def test_a_filter_that_cannot_be_used_is_an_error_of_the_input(
    asked: dict[str, Any], why: str
) -> None:
    payload = made(reader(), filter=asked)
    (error,) = payload["errors"]
    assert (payload["url"], payload["expiresAt"]) == (None, None)
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "filter"])
    assert why in error["message"]


def test_a_value_that_is_no_value_is_bad_input() -> None:
    code, _ = refused(reader(), EXPORT, input={"filter": {"address": "192.0.2"}})
    assert code == "BAD_USER_INPUT"
    assert ask(reader_again(), EXPORT, input={"format": "XLSX"})["errors"]


def reader_again() -> Client:
    client = Client()
    client.force_login(User.objects.get(username="reader"))
    return client


# How it goes out


def test_an_event_loop_is_not_held_up_and_gets_part_after_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    record(*(row(n, path=f"/{n}") for n in range(5)))
    url = link(reader())

    async def download() -> list[bytes]:
        response = await AsyncClient().get(url)
        assert response.is_async
        return [part async for part in response]

    parts = async_to_sync(download)()
    assert len(parts) == 4
    assert paths(b"".join(parts).decode()) == ["/0", "/1", "/2", "/3", "/4"]


def test_a_database_that_goes_away_breaks_the_download_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    record(*(row(n) for n in range(5)))
    parts: list[bytes] = []
    with connection.execute_wrapper(going_away_after(2)), pytest.raises(export.BrokenOffError):
        parts.extend(opened(link(reader())))
    assert len(parts) == 3
    assert parts[-1].startswith(b"INCOMPLETE: the database could not be read on after 2 requests.")


def test_only_so_many_go_out_at_once_and_who_goes_away_makes_room() -> None:
    url = link(reader())
    going = [opened(url) for _ in range(attachment.MOST_AT_ONCE)]
    busy = opened(url)
    assert (busy.status_code, busy["Retry-After"]) == (503, "30")
    assert "2 exports are being read" in busy.content.decode()
    assert AuditEntry.objects.count() == attachment.MOST_AT_ONCE
    body(going.pop())  # is at its end
    for close in opened(url)._resource_closers:  # broken off before its beginning
        close()
    del going  # forgotten by a server that failed
    gc.collect()
    assert [opened(url).status_code for _ in range(attachment.MOST_AT_ONCE)] == [200, 200]
