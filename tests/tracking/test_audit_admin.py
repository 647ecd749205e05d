"""The audit log and the attempts to log in, in the admin: newest first, and only to look at."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tracking.logpage import PAGE
from tracking.models import AuditEntry, LoginAttempt
from users.models import User

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
MODELS = [AuditEntry, LoginAttempt]
COLUMN = {AuditEntry: "reason", LoginAttempt: "account"}


def rows(model: type[models.Model], number: int, text: str = "row {}") -> list[Any]:
    """Save rows, two of each time; `text` goes where people write what they like."""
    facts: dict[str, Any] = (
        {"actor": "ada", "action": "reset_limit", "target": "graphql user:1", "address": None}
        if model is AuditEntry
        else {"outcome": "FAILED", "door": "/admin/login/", "address": "192.0.2.1"}
    )
    return model._default_manager.bulk_create(
        model(at=NOON + timedelta(seconds=n // 2), **facts, **{COLUMN[model]: text.format(n)})
        for n in range(number)
    )


def url(model: type[models.Model]) -> str:
    return f"/admin/tracking/{model._meta.model_name}/"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    LoginAttempt.objects.filter(account=user.username).delete()  # this one
    return client


def colleague(*permissions: str) -> Client:
    user = User.objects.create_user("colleague", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return signed_in(user)


def looker(model: type[models.Model]) -> Client:
    return colleague(f"view_{model._meta.model_name}")


def texts(page: str, model: type[models.Model]) -> list[str]:
    return [unescape(text) for text in re.findall(rf'"field-{COLUMN[model]}">([^<]*)<', page)]


def get(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_following_older_shows_every_row_once_the_newest_first(model: type[models.Model]) -> None:
    rows(model, 2 * PAGE + 1)
    client, here, found = looker(model), url(model), []
    for _ in range(3):
        page = get(client, here)
        found += texts(page, model)
        older = re.search(r'href="([^"]*)" rel="next"', page)
        here = url(model) + unescape(older[1]) if older else ""
    assert not here
    assert found == [f"row {n}" for n in reversed(range(2 * PAGE + 1))]
    assert texts(get(client, url(model) + "?older=0-nonsense"), model) == found[:PAGE]


@pytest.mark.parametrize("model", MODELS)
def test_a_page_of_a_long_list_neither_counts_nor_sorts_it(model: type[models.Model]) -> None:
    rows(model, PAGE + 2)
    client = looker(model)
    with CaptureQueriesContext(connection) as captured:
        get(client, url(model))
    [sql] = [query["sql"] for query in captured if model._meta.db_table in query["sql"]]
    assert "COUNT" not in sql
    assert f"LIMIT {PAGE + 1}" in sql


@pytest.mark.parametrize("model", MODELS)
def test_the_permission_to_look_is_needed(model: type[models.Model]) -> None:
    [row] = rows(model, 1)
    client = colleague("view_requestlog")
    assert client.get(url(model)).status_code == 403
    assert client.get(f"{url(model)}{row.pk}/change/").status_code == 403


@pytest.mark.parametrize("action", ["add/", "{pk}/change/", "{pk}/delete/", ""])
@pytest.mark.parametrize("model", MODELS)
def test_not_even_a_superuser_can_change_a_row(model: type[models.Model], action: str) -> None:
    [row] = rows(model, 1)
    client = signed_in(User.objects.create_superuser("root"))
    form = {COLUMN[model]: "after", "post": "yes", "action": "delete_selected"}
    response = client.post(url(model) + action.format(pk=row.pk), form)
    assert response.status_code == 403 or not action
    assert list(model._default_manager.values_list(COLUMN[model], flat=True)) == ["row 0"]


@pytest.mark.parametrize("model", MODELS)
def test_whatever_was_typed_is_shown_as_text(model: type[models.Model]) -> None:
    [row] = rows(model, 1, "<script>alert(1)</script>\u202egpj")
    client = looker(model)
    for address in (url(model), f"{url(model)}{row.pk}/change/"):
        page = get(client, address)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egpj" in page
        assert "<script>alert" not in page


def test_an_entry_shows_what_the_change_was() -> None:
    entry = AuditEntry.objects.create(
        at=NOON, actor="ada", action="x", target="y", before=None, after={"key": "user:1"}
    )
    page = unescape(get(looker(AuditEntry), f"{url(AuditEntry)}{entry.pk}/change/"))
    assert '{"key": "user:1"}' in page
