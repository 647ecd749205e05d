"""Where one is logged in, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tests.mmdb import CITY, INSIDE, NETWORK, write
from tests.schema.record import refused, told
from tracking import geo
from tracking.models import AuditEntry
from users.models import RefreshToken, Session, User

pytestmark = pytest.mark.django_db

RIGHT = "correct horse battery staple"
LOGIN = "mutation Q($i: LoginInput!) { login(input: $i) { accessToken refreshToken } }"
REFRESH = "mutation Q($i: RefreshTokenInput!) { refreshToken(input: $i) { accessToken } }"
SESSIONS = """{ sessions {
    id address agent createdAt lastUsedAt current place { country city asn } } }"""
END = """mutation Q($i: EndSessionInput!) {
    endSession(input: $i) { ended errors { code path } } }"""
LOGOUT = """mutation Q($i: LogoutInput) {
    logout(input: $i) { sessionsEnded errors { code } } }"""
ME = "{ me { username } }"
NOT_FOUND = {"ended": False, "errors": [{"code": "NOT_FOUND", "path": ["input", "id"]}]}


@pytest.fixture(autouse=True)
def placed(settings: Settings, tmp_path: Any) -> Iterator[None]:
    settings.TRACKING_GEOIP_PATH = write(tmp_path / "city.mmdb", "GeoLite2-City", {NETWORK: CITY})
    geo.reset()
    yield
    geo.reset()


@pytest.fixture(autouse=True)
def ada(placed: None) -> User:
    return User.objects.create_user("ada", password=RIGHT)


def log_in(username: str = "ada", **meta: Any) -> Client:
    """Return a client that sends the access token of a new session."""
    payload = told(Client(**meta), LOGIN, i={"username": username, "password": RIGHT})["login"]
    return Client(headers={"Authorization": f"Bearer {payload['accessToken']}"}, **meta)


def sessions(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(client, SESSIONS)["sessions"]
    return found


def test_a_session_says_where_it_was_begun_and_which_one_asks() -> None:
    log_in(REMOTE_ADDR="2001:db8::1")
    client = log_in(REMOTE_ADDR=INSIDE, HTTP_USER_AGENT="Firefox/1")
    here, there = sessions(client)
    assert (here["address"], here["agent"], here["current"]) == (INSIDE, "Firefox/1", True)
    assert here["place"] == {"country": "GB", "city": "London", "asn": None}
    assert (there["address"], there["agent"], there["current"]) == ("2001:db8::1", "", False)
    assert there["place"] is None
    assert here["createdAt"] > there["createdAt"]


def test_the_session_that_was_used_last_comes_first() -> None:
    first = told(Client(), LOGIN, i={"username": "ada", "password": RIGHT})["login"]
    client = log_in()
    newest = sessions(client)[0]["id"]
    told(Client(), REFRESH, i={"refreshToken": first["refreshToken"]})
    last_used, other = sessions(client)
    assert (other["id"], other["current"]) == (newest, True)
    assert last_used["lastUsedAt"] > last_used["createdAt"]


def test_nobody_sees_or_ends_the_sessions_of_others() -> None:
    User.objects.create_superuser("root", password=RIGHT)
    mine, other = log_in(), log_in("root")
    (session,) = sessions(mine)
    assert session["id"] not in [other["id"] for other in sessions(other)]
    assert told(other, END, i={"id": session["id"]})["endSession"] == NOT_FOUND
    assert told(mine, ME)["me"]


def test_sessions_that_are_over_are_not_listed() -> None:
    client = log_in()
    for change in ({"ended_at": timezone.now()}, {"expires_at": timezone.now()}):
        log_in()
        Session.objects.filter(pk=Session.objects.latest("created_at").pk).update(**change)
    log_in()
    newest = Session.objects.latest("created_at")
    newest.refresh_tokens.update(expires_at=timezone.now())
    assert len(sessions(client)) == 1


def test_a_browsers_session_sees_the_sessions_and_is_none_of_them(ada: User) -> None:
    log_in()
    browser = Client()
    browser.force_login(ada)
    assert [session["current"] for session in sessions(browser)] == [False]


def test_the_list_ends_at_a_hundred(
    ada: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    later = timezone.now() + timedelta(days=1)
    rows = Session.objects.bulk_create(Session(user=ada, expires_at=later) for _ in range(150))
    RefreshToken.objects.bulk_create(
        RefreshToken(session=row, digest=str(row.pk), expires_at=later) for row in rows
    )
    client = log_in()
    with django_assert_max_num_queries(2):
        assert len(sessions(client)) == 100


def test_a_session_that_is_ended_elsewhere_is_over_at_once() -> None:
    here, there = log_in(), log_in(REMOTE_ADDR="192.0.2.9")
    (id_,) = (session["id"] for session in sessions(here) if not session["current"])
    assert told(here, END, i={"id": id_})["endSession"] == {"ended": True, "errors": []}
    assert refused(there, ME)[0] == "UNAUTHENTICATED"
    assert told(here, ME)["me"]
    assert told(here, END, i={"id": id_})["endSession"] == NOT_FOUND
    entry = AuditEntry.objects.get(action="session_logged_out")
    assert (entry.actor, entry.before, str(entry.address)) == ("ada", {"session": id_}, "127.0.0.1")


@pytest.mark.parametrize("id_", ["", "1", "x" * 36, "\x00", "é", "0" * 32, "٣" * 32, 7], ids=ascii)
def test_an_id_of_no_session_is_not_found(id_: object) -> None:
    assert told(log_in(), END, i={"id": id_})["endSession"] == NOT_FOUND


def test_a_logout_ends_the_session_of_its_token_alone() -> None:
    here, there = log_in(), log_in()
    assert told(here, LOGOUT)["logout"] == {"sessionsEnded": 1, "errors": []}
    assert refused(here, ME)[0] == refused(here, LOGOUT)[0] == "UNAUTHENTICATED"
    assert told(there, ME)["me"]


def test_a_logout_everywhere_ends_all_of_ones_own() -> None:
    User.objects.create_user("bob", password=RIGHT)
    clients, other = [log_in() for _ in range(3)], log_in("bob")
    payload = told(clients[0], LOGOUT, i={"everywhere": True})["logout"]
    assert payload == {"sessionsEnded": 3, "errors": []}
    for client in clients:
        assert refused(client, ME)[0] == "UNAUTHENTICATED"
    assert told(other, ME)["me"]["username"] == "bob"


@pytest.mark.parametrize(("everywhere", "ended"), [(False, 0), (True, 1)])
def test_a_logout_by_cookie_ends_the_browsers_session(
    ada: User, everywhere: bool, ended: int
) -> None:
    client, browser = log_in(), Client()
    browser.force_login(ada)
    payload = told(browser, LOGOUT, i={"everywhere": everywhere})["logout"]
    assert payload["sessionsEnded"] == ended
    assert refused(browser, ME)[0] == "UNAUTHENTICATED"
    if everywhere:
        assert refused(client, ME)[0] == "UNAUTHENTICATED"
    else:
        assert told(client, ME)["me"]


def test_a_refresh_token_of_an_ended_session_brings_nothing() -> None:
    payload = told(Client(), LOGIN, i={"username": "ada", "password": RIGHT})["login"]
    token = payload["accessToken"]
    told(Client(headers={"Authorization": f"Bearer {token}"}), LOGOUT)
    i = {"refreshToken": payload["refreshToken"]}
    assert told(Client(), REFRESH, i=i)["refreshToken"] == {"accessToken": None}
