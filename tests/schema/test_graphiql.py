"""The GraphiQL page: who gets it, that it needs no other site, and that it trusts no text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from project import settings as production
from tests.schema.record import reader, record, row, told
from users.models import User

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(autouse=True)
def switched_on(settings: Settings) -> None:
    settings.GRAPHIQL = True


@pytest.fixture
def with_assets(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    stamp = tmp_path / "schema" / "vendor" / "installed.txt"
    stamp.parent.mkdir(parents=True)
    stamp.touch()


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the texts inside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in {"script", "style"} and data.strip():
            self.inline.append(data)


def page(client: Client) -> str:
    response = client.get("/graphql/", headers={"accept": BROWSER})
    assert response.status_code == 200
    return response.content.decode()


def signed_in(client: Client, **columns: bool | str) -> Client:
    user = User.objects.create_user(**{"username": "anna", "password": "x", **columns})
    client.force_login(user)
    return client


# Who gets it


@pytest.mark.parametrize(
    ("who", "status"),
    [(None, 404), ({}, 404), ({"is_staff": True}, 200), ({"is_superuser": True}, 404)],
)
def test_where_it_is_switched_off_only_staff_get_it(
    settings: Settings, who: dict[str, bool] | None, status: int
) -> None:
    settings.GRAPHIQL = False
    client = Client() if who is None else signed_in(Client(), **who)
    response = client.get("/graphql/", headers={"accept": BROWSER})
    assert response.status_code == status
    assert (b"<html" in response.content) == (status == 200)


def test_a_staff_account_that_was_closed_no_longer_gets_it(settings: Settings) -> None:
    settings.GRAPHIQL = False
    client = signed_in(Client(), is_staff=True)
    User.objects.update(is_active=False)
    assert client.get("/graphql/", headers={"accept": BROWSER}).status_code == 404


def test_production_switches_it_off() -> None:
    assert (production.DEBUG, production.GRAPHIQL) == (False, False)


# What it says


def test_a_stranger_reads_that_he_is_not_signed_in_and_where_to_log_in() -> None:
    html = page(Client())
    assert "Not signed in" in html
    assert 'href="/admin/login/?next=/graphql/"' in html
    assert "Log out" not in html


def test_a_user_reads_his_name_and_can_log_out_and_come_back() -> None:
    client = signed_in(Client(enforce_csrf_checks=True), is_staff=True)
    html = page(client)
    assert "Signed in as <bdi>anna</bdi>" in html
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "next": "/graphql/"}
    response = client.post("/admin/logout/", form)
    assert (response.status_code, response["Location"]) == (302, "/graphql/")
    assert "Not signed in" in page(client)


def test_a_name_cannot_smuggle_markup_into_the_page() -> None:
    html = page(signed_in(Client(), username="<script>alert('x')</script>"))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in html


def test_without_its_files_it_says_which_command_brings_them(
    settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    html = page(Client())
    assert "<code>python3 deploy/assets.py</code>" in html
    assert "<code>python manage.py collectstatic</code>" in html
    assert "vendor" not in html
    settings.DEBUG = True
    assert "collectstatic" not in page(Client())


# What it may load and do


@pytest.mark.usefixtures("with_assets")
def test_everything_it_loads_is_on_this_site_and_nothing_is_inline() -> None:
    elements = Elements(page(signed_in(Client())))
    assert elements.inline == []
    addresses = []
    for tag, attributes in elements.found:
        assert tag != "style"
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        addresses += [attributes[name] for name in ("src", "href", "action") if name in attributes]
        assert tag != "script" or attributes["src"]
    assert len(addresses) >= 10
    for address in addresses:
        assert address == "data:," or re.match(r"/[^/]", address or ""), address


@pytest.mark.usefixtures("with_assets")
def test_its_policy_lets_it_load_and_reach_nothing_but_this_site() -> None:
    response = Client().get("/graphql/", headers={"accept": BROWSER})
    policy = dict(
        directive.split(" ", 1) for directive in response["Content-Security-Policy"].split("; ")
    )
    assert policy.pop("style-src").startswith("'self' 'sha256-")
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert "no-store" in response["Cache-Control"]


# The token


@pytest.mark.usefixtures("with_assets")
def test_the_token_on_the_page_makes_a_signed_in_question_acceptable() -> None:
    client = signed_in(Client(enforce_csrf_checks=True))
    question = {"data": '{"query": "{ __typename }"}', "content_type": "application/json"}
    html = page(client)
    embedded = re.search(r'data-csrf-token="(\w+)"', html)
    assert embedded
    assert re.search(r'data-csrf-header="X-CSRFTOKEN"', html)
    assert client.post("/graphql/", **question).status_code == 403
    for token in (embedded[1], client.cookies["csrftoken"].value):
        response = client.post("/graphql/", **question, headers={"X-CSRFToken": token})
        assert response.json() == {"data": {"__typename": "Query"}}


# What stands in the editor, and where the files come from


def test_the_query_in_the_editor_answers() -> None:
    record(row(path="/seen"))
    script = (ROOT / "schema" / "static" / "schema" / "graphiql.js").read_text()
    query = re.search(r"DEFAULT_QUERY = `(.*?)`;", script, re.DOTALL)
    assert query
    (node,) = told(reader(), query[1])["requestLogs"]["nodes"]
    assert node["path"] == "/seen"


def test_each_locked_package_has_a_hash_and_names_no_host() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/graphiql", "node_modules/graphql-http"} <= set(packages)
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


def test_each_package_is_asked_for_in_one_exact_version() -> None:
    asked = json.loads((ROOT / "package.json").read_text())
    for version in (asked["dependencies"] | asked["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
