"""The request log in the admin as a file."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.schema.record import record, row
from tracking import logpage
from tracking.models import AuditEntry
from users.models import User

pytestmark = pytest.mark.django_db

LIST = "/admin/tracking/requestlog/"


@pytest.fixture
def operator() -> Client:
    """A colleague with the one permission that the log needs."""
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_requestlog"))
    client = Client()
    client.force_login(user)
    return client


def exported(client: Client, **asked: str) -> list[str]:
    """Return the paths in the file to which the page of a filter leads."""
    page = client.get(LIST, asked).content.decode()
    (url,) = re.findall(r'<a href="(export/[^"]*)"[^>]*>CSV</a>', page)
    response: Any = client.get(LIST + unescape(url))
    assert response["Content-Disposition"].startswith('attachment; filename="requests-')
    file = io.StringIO(b"".join(response).decode(), newline="")
    return [each["path"] for each in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["/a", "/b", "/c", "/d"]),
        ({"older": "0-1"}, ["/a", "/b", "/c", "/d"]),
        ({"network": "192.0.2.7"}, ["/a"]),
        ({"network": "2001:db8::/32", "source": "live"}, ["/b"]),
        ({"country": "de", "status_class": "4"}, ["/b"]),
        ({"verdict": logpage.REFUSED}, ["/b", "/c"]),
        ({"path": "/d", "username": "&format=jsonl"}, ["/d"]),
        ({"since": "2026-05-17T12:00:01", "until": "2026-05-17T12:00:03"}, ["/b", "/c"]),
        ({"request_id": "f" * 32}, ["/c"]),
    ],
)
def test_the_file_holds_all_that_the_filter_finds(
    operator: Client, asked: dict[str, str], found: list[str]
) -> None:
    record(
        row(0, path="/a", address="192.0.2.7"),
        row(1, path="/b", address="2001:db8::1", country="DE", status=403, verdict="BLOCKED"),
        row(2, path="/c", request_id="f" * 32, verdict="LIMITED"),
        row(3, path="/d", username="&format=jsonl"),
    )
    assert exported(operator, **asked) == found
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action) == ("operator", "export")
    assert entry.after is not None
    assert set(entry.after["filter"]) == set(asked) - {"older"}


def test_json_lines_are_offered_too(operator: Client) -> None:
    record(row(path="/a"))
    response: Any = operator.get(f"{LIST}export/", {"format": "jsonl"})
    assert response["Content-Type"] == "application/x-ndjson"
    assert b"".join(response).count(b"\n") == 1


@pytest.mark.parametrize(
    "asked", [{"format": "csv", "network": "10.0.0.1/8"}, {"format": "xlsx"}, {}]
)
def test_a_filter_that_cannot_be_used_leads_back_to_the_list_which_says_so(
    operator: Client, asked: dict[str, str]
) -> None:
    response = operator.get(f"{LIST}export/", asked)
    assert response.status_code == 302
    page = operator.get(response["Location"]).content.decode()
    assert ("correct what is marked" in page) == ("network" in asked)
    assert ("export/" in page) == ("network" not in asked)
    assert not AuditEntry.objects.exists()


def test_who_may_not_see_the_log_gets_no_file() -> None:
    url = f"{LIST}export/?format=csv"
    assert Client().get(url)["Location"].startswith("/admin/login/")
    client = Client()
    client.force_login(User.objects.create_user("colleague", is_staff=True))
    assert client.get(url).status_code == 403
    assert not AuditEntry.objects.exists()
