"""Accounts over GraphQL: made, logged in to, looked after, and never told about to others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from schema.permissions import make_roles
from tests.schema.record import ask, refused, told
from tracking import drainer, limiter
from tracking.models import AuditEntry, LoginAttempt, RequestLog
from users.models import Session, User

pytestmark = pytest.mark.django_db

RIGHT = "correct horse battery staple"
NEW = "four other words entirely"
ERRORS = "errors { __typename code message path ... on RateLimitedError { limit retryAfter } }"
USER = "id username email isActive isStaff roles dateJoined lastLogin"
SIGNUP = f"mutation Q($i: SignupInput!) {{ signup(input: $i) {{ user {{ {USER} }} {ERRORS} }} }}"
TOKENS = "accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt"
LOGIN = (
    f"mutation Q($i: LoginInput!) {{ login(input: $i) {{ {TOKENS} user {{ {USER} }} {ERRORS} }} }}"
)
REFRESH = f"""mutation Q($i: RefreshTokenInput!) {{
    refreshToken(input: $i) {{ {TOKENS} user {{ {USER} }} {ERRORS} }} }}"""
CHANGE = (
    f"mutation Q($i: ChangePasswordInput!) {{ changePassword(input: $i) {{ changed {ERRORS} }} }}"
)
DEACTIVATE = f"""mutation Q($i: DeactivateUserInput!) {{
    deactivateUser(input: $i) {{ user {{ id isActive email }} {ERRORS} }} }}"""
UNLOCK = (
    f"mutation Q($i: UnlockAccountInput!) {{ unlockAccount(input: $i) {{ unlocked {ERRORS} }} }}"
)
LOGOUT = "mutation { logout { sessionsEnded errors { code } } }"
ME = f"{{ me {{ {USER} }} }}"
USERS = f"""query Q($f: UserFilter, $first: Int, $after: String) {{
    users(filter: $f, first: $first, after: $after) {{
        nodes {{ {USER} }} edges {{ cursor }} pageInfo {{ hasNextPage endCursor }} }} }}"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    limiter._counters().clear()
    yield
    limiter._counters().clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", "ada@example.org", RIGHT)


def bearer(token: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {token}"})


def log_in(username: str = "ada", password: str = RIGHT, **meta: Any) -> Any:
    return told(Client(**meta), LOGIN, i={"username": username, "password": password})["login"]


def by_token(user: User) -> Client:
    return bearer(log_in(user.username)["accessToken"])


def holder(*permissions: str, name: str = "holder") -> Client:
    """Return a client whose user has these permissions, such as `view_user`."""
    user = User.objects.create_user(name, f"{name}@example.org")
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def error_of(payload: dict[str, Any]) -> tuple[str, list[str] | None]:
    (error,) = payload["errors"]
    assert not any(value for name, value in payload.items() if name != "errors")
    return error["code"], error["path"]


def test_a_new_account_is_shown_to_its_owner_and_may_do_nothing() -> None:
    payload = told(
        Client(), SIGNUP, i={"username": "ada", "password": RIGHT, "email": "ada@example.org"}
    )["signup"]
    assert payload["errors"] == []
    user = payload["user"]
    assert (user["username"], user["email"], user["roles"]) == ("ada", "ada@example.org", [])
    assert (user["isActive"], user["isStaff"], user["lastLogin"]) == (True, False, None)
    client = by_token(User.objects.get())
    assert told(client, ME)["me"]["id"] == user["id"]
    assert refused(client, USERS)[0] == "FORBIDDEN"
    assert refused(client, "{ requestLogs { nodes { id } } }")[0] == "FORBIDDEN"
    assert refused(client, "{ auditLog { nodes { id } } }")[0] == "FORBIDDEN"
    assert refused(client, "{ loginAttempts { nodes { id } } }")[0] == "FORBIDDEN"


def test_an_account_needs_no_e_mail_address() -> None:
    for i in ({}, {"email": None}, {"email": ""}):
        name = f"ada{len(i)}{i.get('email')}"
        payload = told(Client(), SIGNUP, i={"username": name, "password": RIGHT} | i)["signup"]
        assert (payload["errors"], payload["user"]["email"]) == ([], None)


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"username": "ada"}, "USERNAME_TAKEN", "username"),
        ({"username": "ADA"}, "USERNAME_TAKEN", "username"),
        ({"username": "ａｄａ"}, "USERNAME_TAKEN", "username"),
        ({"username": ""}, "INVALID_INPUT", "username"),
        ({"username": "a b"}, "INVALID_INPUT", "username"),
        ({"username": "a\x00"}, "INVALID_INPUT", "username"),
        ({"username": "a" * 151}, "INVALID_INPUT", "username"),
        ({"username": "bob", "email": "nowhere"}, "INVALID_INPUT", "email"),
        ({"username": "bob", "password": "tiny"}, "WEAK_PASSWORD", "password"),
        ({"username": "bob", "password": "password123"}, "WEAK_PASSWORD", "password"),
        ({"username": "bobbington", "password": "bobbington"}, "WEAK_PASSWORD", "password"),
        ({"username": "bob", "password": "x y" * 400}, "WEAK_PASSWORD", "password"),
    ],
    ids=str,
)
def test_an_account_that_cannot_be_says_which_part_of_the_input_to_mend(
    ada: User, given: dict[str, str], code: str, field: str
) -> None:
    payload = told(Client(), SIGNUP, i={"password": RIGHT} | given)["signup"]
    assert error_of(payload) == (code, ["input", field])
    assert given.get("password", RIGHT) not in json.dumps(payload)
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "more", [{"isStaff": True}, {"is_superuser": True}, {"isActive": False}, {"groups": [1]}]
)
def test_nothing_else_can_be_set_and_the_refusal_does_not_repeat_the_password(
    more: dict[str, object],
) -> None:
    answer = ask(Client(), SIGNUP, i={"username": "ada", "password": RIGHT} | more)
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert next(iter(more)) in error["message"]
    assert RIGHT not in json.dumps(answer)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        'mutation { login(input: {username: "ada", password: 12345678}) { accessToken } }',
        'mutation { login(input: {username: "ada" password "12345678"}) { accessToken } }',
        'mutation { login(input: {username: "ada", password: ["12345678"]}) { accessToken } }',
        "mutation { login(input: {username: 12345678}) { accessToken } }",
    ],
)
def test_no_mistake_in_a_document_makes_its_error_repeat_a_password(query: str) -> None:
    answer = ask(Client(), query)
    assert answer["errors"]
    assert "12345678" not in json.dumps(answer)


@pytest.mark.parametrize(
    "i",
    [
        {"username": "ada", "password": 12345678},
        {"username": "ada", "password": ["12345678"]},
        {"username": "ada", "password": {"x; y": "12345678"}},
        {"password": "12345678"},
        {"username": "ada", "password": "a; 12345678; b", "otp": "; 1"},
        ["12345678"],
        "12345678",
    ],
    ids=str,
)
def test_no_mistake_in_variables_makes_its_error_repeat_a_password(i: object) -> None:
    answer = ask(Client(), LOGIN, i=i)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"] * len(
        answer["errors"]
    )
    assert "$i" in answer["errors"][0]["message"]
    assert "12345678" not in json.dumps(answer)


def test_who_may_not_make_accounts_is_told_so(settings: Settings) -> None:
    settings.SIGNUP_OPEN = False
    payload = told(Client(), SIGNUP, i={"username": "ada", "password": RIGHT})["signup"]
    assert error_of(payload) == ("SIGNUP_CLOSED", None)
    assert payload["errors"][0]["__typename"] == "SignupClosedError"
    assert not User.objects.exists()


def test_accounts_are_made_by_an_address_as_often_as_the_limit_says(settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    for document in range(4):
        fields = " ".join(
            f'a{n}: signup(input: {{username: "u{document}{n}", password: "{RIGHT}"}})'
            f" {{ user {{ id }} {ERRORS} }}"
            for n in range(3)
        )
        answer = told(Client(), f"mutation {{ {fields} }}")
    assert User.objects.count() == 5
    for payload in answer.values():
        (error,) = payload["errors"]
        assert (error["__typename"], error["limit"]) == ("RateLimitedError", "signup")
        assert 0 < error["retryAfter"] <= 3600


def test_a_login_hands_out_tokens_that_are_good_and_shows_the_account(ada: User) -> None:
    payload = log_in("ADA")
    assert payload["errors"] == []
    assert payload["user"]["email"] == "ada@example.org"
    assert payload["user"]["lastLogin"]
    assert payload["accessTokenExpiresAt"] < payload["refreshTokenExpiresAt"]
    assert told(bearer(payload["accessToken"]), ME)["me"] == payload["user"]


def test_a_login_that_fails_says_the_same_whatever_was_wrong(ada: User) -> None:
    User.objects.create_user("idle", password=RIGHT, is_active=False)
    wrong = [("ada", NEW), ("nobody", RIGHT), ("idle", RIGHT), ("idle", NEW), ("", ""),
             ("a\x00", RIGHT), ("ada", "\x00"), ("ada", "x" * 2000)]  # fmt: skip
    payloads = [log_in(*pair) for pair in wrong]
    assert payloads == [payloads[0]] * len(wrong)
    assert error_of(payloads[0]) == ("INVALID_CREDENTIALS", None)


def test_a_thousand_logins_in_one_document_get_five_verdicts(ada: User, settings: Settings) -> None:
    names = "body_bytes tokens aliases root_fields root_mutations fields fields_per_key cost"
    settings.GRAPHQL_LIMITS = dict.fromkeys(names.split(), 10**6)
    settings.TRACKING_LIMITS = {"graphql": "off", "login_account": "off"}
    fields = " ".join(
        f'a{n}: login(input: {{username: "ada", password: "guess {n}"}})'
        " { accessToken errors { code } }"
        for n in range(999)
    )
    last = (
        f'a999: login(input: {{username: "ada", password: "{RIGHT}"}}) {{ accessToken {ERRORS} }}'
    )
    answer = told(Client(), f"mutation {{ {fields} {last} }}")
    codes = [payload["errors"][0]["code"] for payload in answer.values()]
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 995
    (error,) = answer["a999"]["errors"]
    assert (error["__typename"], error["limit"]) == ("RateLimitedError", "login_address")
    assert LoginAttempt.objects.filter(outcome="FAILED").count() == 5


def test_two_hundred_documents_of_five_logins_get_five_verdicts(
    ada: User, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "login_account": "off"}
    one = 'a{n}: login(input: {{username: "ada", password: "x"}}) {{ errors {{ code }} }}'
    document = "mutation { " + " ".join(one.format(n=n) for n in range(5)) + " }"
    codes = [
        payload["errors"][0]["code"]
        for _ in range(200)
        for payload in told(Client(), document).values()
    ]
    assert codes.count("INVALID_CREDENTIALS") == 5
    assert codes.count("RATE_LIMITED") == 995


def test_others_of_the_document_answer_when_a_login_is_one_too_many(
    ada: User, settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "login_address": "1/h"}
    client = by_token(ada)
    good = f'login(input: {{username: "ada", password: "{RIGHT}"}}) {{ accessToken {ERRORS} }}'
    answer = told(client, f"mutation {{ {good} logout {{ sessionsEnded }} }}")
    assert error_of(answer["login"])[0] == "RATE_LIMITED"
    assert answer["logout"] == {"sessionsEnded": 1}


def test_a_refresh_brings_new_tokens_once(ada: User) -> None:
    first = log_in()
    second = told(Client(), REFRESH, i={"refreshToken": first["refreshToken"]})["refreshToken"]
    assert second["errors"] == []
    assert second["refreshToken"] != first["refreshToken"]
    assert told(bearer(second["accessToken"]), ME)["me"]["username"] == "ada"


def test_a_refresh_token_used_twice_ends_the_session_and_goes_on_record(ada: User) -> None:
    first = log_in()
    i = {"refreshToken": first["refreshToken"]}
    second = told(Client(), REFRESH, i=i)["refreshToken"]
    thief = told(Client(REMOTE_ADDR="192.0.2.66"), REFRESH, i=i)["refreshToken"]
    assert error_of(thief) == ("INVALID_TOKEN", ["input", "refreshToken"])
    assert refused(bearer(second["accessToken"]), ME)[0] == "UNAUTHENTICATED"
    entry = AuditEntry.objects.get(action="session_reused")
    assert (str(entry.address), entry.target) == ("192.0.2.66", "user ada")


@pytest.mark.parametrize("token", ["", "x", "\x00", "é" * 5000], ids=ascii)
def test_what_is_no_refresh_token_is_refused_in_the_payload(token: str) -> None:
    payload = told(Client(), REFRESH, i={"refreshToken": token})["refreshToken"]
    assert error_of(payload) == ("INVALID_TOKEN", ["input", "refreshToken"])


def test_an_access_token_too_old_is_named_so_and_public_fields_answer(
    ada: User, settings: Settings
) -> None:
    settings.JWT_ACCESS_TTL = timedelta(seconds=-60)
    client = by_token(ada)
    for query in (ME, USERS, "{ sessions { id } }", LOGOUT):
        assert refused(client, query)[0] == "TOKEN_EXPIRED"
    assert told(client, "{ serverInfo { name } }")["serverInfo"]


def test_the_anonymous_see_no_account() -> None:
    change = {"oldPassword": RIGHT, "newPassword": NEW}
    for query, i in (
        (ME, None), (USERS, None), ("{ sessions { id } }", None), (LOGOUT, None), (CHANGE, change),
        (DEACTIVATE, {"id": "VXNlcjox"}), (UNLOCK, {"username": "ada"}),
    ):  # fmt: skip
        assert refused(Client(), query, i=i)[0] == "UNAUTHENTICATED"


def test_with_an_authorization_header_a_cookie_counts_for_nothing(ada: User) -> None:
    client = Client()
    client.force_login(ada)
    assert told(client, ME)["me"]["username"] == "ada"
    client.defaults["HTTP_AUTHORIZATION"] = "Bearer nonsense"
    assert refused(client, ME)[0] == "UNAUTHENTICATED"


def test_a_new_password_ends_every_session_and_the_old_password(ada: User) -> None:
    here, there = by_token(ada), by_token(ada)
    browser = Client()
    browser.force_login(User.objects.get())
    i = {"oldPassword": RIGHT, "newPassword": NEW}
    assert told(here, CHANGE, i=i)["changePassword"] == {"changed": True, "errors": []}
    for client in (here, there, browser):
        assert refused(client, ME)[0] == "UNAUTHENTICATED"
    assert error_of(log_in())[0] == "INVALID_CREDENTIALS"
    assert log_in(password=NEW)["errors"] == []
    entry = AuditEntry.objects.get(action="password_changed")
    assert (entry.actor, entry.before, entry.after) == ("ada", None, None)


def test_the_browser_of_the_admin_changes_its_password_too(ada: User) -> None:
    browser = Client()
    browser.force_login(ada)
    i = {"oldPassword": RIGHT, "newPassword": NEW}
    assert told(browser, CHANGE, i=i)["changePassword"]["changed"]
    assert log_in(password=NEW)["errors"] == []


@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        ("wrong", NEW, "INVALID_CREDENTIALS", "oldPassword"),
        ("", NEW, "INVALID_CREDENTIALS", "oldPassword"),
        (RIGHT, "short", "WEAK_PASSWORD", "newPassword"),
        (RIGHT, "password123", "WEAK_PASSWORD", "newPassword"),
    ],
)
def test_a_password_that_stays_says_why(
    ada: User, old: str, new: str, code: str, field: str
) -> None:
    client = by_token(ada)
    payload = told(client, CHANGE, i={"oldPassword": old, "newPassword": new})["changePassword"]
    assert error_of(payload) == (code, ["input", field])
    assert told(client, ME)["me"]["username"] == "ada"


def test_guessing_the_old_password_counts_as_logging_in(ada: User, settings: Settings) -> None:
    client = by_token(ada)
    settings.TRACKING_LIMITS = {"graphql": "off"}
    i = {"oldPassword": "wrong", "newPassword": NEW}
    codes = [error_of(told(client, CHANGE, i=i)["changePassword"])[0] for _ in range(7)]
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 2
    i = {"oldPassword": RIGHT, "newPassword": NEW}
    assert error_of(told(client, CHANGE, i=i)["changePassword"])[0] == "RATE_LIMITED"


def test_staff_page_through_the_accounts_and_see_no_e_mail_but_their_own(ada: User) -> None:
    make_roles()
    for number in range(5):
        User.objects.create_user(f"u{number}", f"u{number}@example.org", RIGHT)
    client = holder("view_user")
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        page = told(client, USERS, first=3, after=after)["users"]
        seen += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    names = [user["username"] for user in seen]
    assert names == ["holder", "u4", "u3", "u2", "u1", "u0", "ada"]
    assert {u["username"]: u["email"] for u in seen if u["email"]} == {
        "holder": "holder@example.org"
    }


def test_a_long_page_of_accounts_costs_as_many_queries_as_a_short_one(ada: User) -> None:
    client = holder("view_user")
    User.objects.bulk_create(User(username=f"u{n}", canonical=f"u{n}") for n in range(90))
    costs = []
    for size in (2, 92):
        with CaptureQueriesContext(connection) as captured:
            assert len(told(client, USERS, first=size)["users"]["nodes"]) == size
        costs.append(len(captured))
    assert costs[0] == costs[1]


def test_a_token_costs_one_query(ada: User) -> None:
    client = by_token(ada)
    with CaptureQueriesContext(connection) as captured:
        told(client, "{ me { username email isStaff } again: me { id } }")
    assert len(captured) == 1


def test_the_filter_finds_an_account_by_any_spelling_of_its_name(ada: User) -> None:
    User.objects.create_user("idle", is_active=False)
    client = holder("view_user")

    def names(**f: object) -> list[str]:
        return [user["username"] for user in told(client, USERS, f=f)["users"]["nodes"]]

    assert names(username="ADA") == names(username="ａda") == ["ada"]
    assert names(isActive=False) == ["idle"]
    assert names(username="ada", isActive=False) == []
    assert names(username="\x00") == names(username="") == []
    assert names(username=None, isActive=None) == ["holder", "idle", "ada"]


@pytest.mark.parametrize("arguments", ["first: 0", "first: 101", "first: 1, last: 1", 'after: "x"'])
def test_pages_that_make_no_sense_are_refused(arguments: str) -> None:
    client = holder("view_user", "view_loginattempt", "view_auditentry")
    for name in ("users", "loginAttempts", "auditLog"):
        query = f"{{ {name}({arguments}) {{ nodes {{ id }} }} }}"
        assert refused(client, query)[0] == "BAD_USER_INPUT"


def test_the_node_of_an_account_follows_its_list_and_ones_own_is_free(ada: User) -> None:
    query = "query Q($ids: [ID!]!) { nodes(ids: $ids) { ... on User { username email } } }"
    mine = told(by_token(ada), ME)["me"]["id"]
    user = told(Client(), SIGNUP, i={"username": "bob", "password": RIGHT, "email": "b@b.org"})
    other = user["signup"]["user"]["id"]
    assert told(by_token(ada), query, ids=[mine])["nodes"] == [
        {"username": "ada", "email": "ada@example.org"}
    ]
    for ids in ([other], [mine, other], ["VXNlcjo5OTk="]):
        assert refused(by_token(ada), query, ids=ids)[0] == "FORBIDDEN"
    assert refused(Client(), query, ids=[mine])[0] == "UNAUTHENTICATED"
    assert told(holder("view_user"), query, ids=[other, mine])["nodes"] == [
        {"username": "bob", "email": None},
        {"username": "ada", "email": None},
    ]


def test_a_deactivated_account_loses_its_access_at_once(ada: User) -> None:
    client, browser = by_token(ada), Client()
    browser.force_login(ada)
    me = told(client, ME)["me"]["id"]
    staff = holder("change_user")
    i = {"id": me, "reason": "left"}
    payload = told(staff, DEACTIVATE, i=i)["deactivateUser"]
    assert payload == {"user": {"id": me, "isActive": False, "email": None}, "errors": []}
    assert refused(client, ME)[0] == refused(browser, ME)[0] == "UNAUTHENTICATED"
    assert error_of(log_in())[0] == "INVALID_CREDENTIALS"
    assert Session.objects.get().end_reason == "deactivated"
    told(staff, DEACTIVATE, i=i)  # once more changes nothing
    entry = AuditEntry.objects.get(action="deactivated")
    assert (entry.actor, entry.target, entry.reason) == ("holder", "user ada", "left")
    assert str(entry.address) == "127.0.0.1"


def test_superusers_are_deactivated_by_superusers_and_never_the_last() -> None:
    roots = [User.objects.create_superuser(name, password=RIGHT) for name in ("root", "other")]
    ids = [told(by_token(root), ME)["me"]["id"] for root in roots]
    staff, root = holder("change_user"), by_token(roots[0])
    for client, id_ in ((staff, ids[0]), (staff, ids[1])):
        payload = told(client, DEACTIVATE, i={"id": id_})["deactivateUser"]
        assert error_of(payload) == ("PROTECTED_TARGET", ["input", "id"])
        assert payload["errors"][0]["__typename"] == "ProtectedTargetError"
    assert told(root, DEACTIVATE, i={"id": ids[1]})["deactivateUser"]["errors"] == []
    last = told(root, DEACTIVATE, i={"id": ids[0]})["deactivateUser"]
    assert error_of(last) == ("PROTECTED_TARGET", ["input", "id"])
    assert User.objects.get(username="root").is_active


def test_an_account_that_does_not_exist_is_not_found_and_other_ids_are_refused() -> None:
    client = holder("change_user")
    payload = told(client, DEACTIVATE, i={"id": "VXNlcjo5OTk="})["deactivateUser"]
    assert error_of(payload) == ("NOT_FOUND", ["input", "id"])
    for id_ in ("", "1", "UmVxdWVzdExvZzox"):
        assert refused(client, DEACTIVATE, i={"id": id_})[0] == "BAD_USER_INPUT"


def test_an_account_is_unlocked_by_any_spelling_of_its_name(ada: User, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "login_address": "off", "login_account": "2/h"}
    codes = [error_of(log_in(password="x"))[0] for _ in range(3)]
    assert codes == ["INVALID_CREDENTIALS"] * 2 + ["RATE_LIMITED"]
    staff = holder("reset_limit")
    i = {"username": "ADA", "reason": "called us"}
    assert refused(holder("change_user", name="no"), UNLOCK, i=i)[0] == "FORBIDDEN"
    payload = told(staff, UNLOCK, i=i)["unlockAccount"]
    assert payload == {"unlocked": True, "errors": []}
    entry = AuditEntry.objects.get(action="reset_limit")
    assert (entry.actor, entry.reason, entry.after["key"]) == ("holder", "called us", "account:ada")


@pytest.mark.django_db(transaction=True)
def test_unlocking_lets_the_owner_in_again(ada: User, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off", "login_address": "off", "login_account": "2/h"}
    for _ in range(3):
        log_in(password="x")
    told(holder("reset_limit"), UNLOCK, i={"username": "ada"})
    assert log_in()["errors"] == []


def test_there_is_nothing_to_unlock_where_there_is_no_account() -> None:
    for username in ("nobody", "", "\x00"):
        payload = told(holder("reset_limit", name=f"h{User.objects.count()}"), UNLOCK,
                       i={"username": username})["unlockAccount"]  # fmt: skip
        assert error_of(payload) == ("NOT_FOUND", ["input", "username"])


@pytest.mark.django_db(transaction=True)
def test_passwords_and_tokens_stand_nowhere_on_record(
    ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = log_in()
    told(
        Client(),
        f'mutation {{ login(input: {{username: "ada", password: "{RIGHT}"}}) {{user {{id}}}}}}',
    )
    i = {"oldPassword": RIGHT, "newPassword": NEW}
    told(bearer(tokens["accessToken"]), CHANGE, i=i)
    drainer.drain()
    rows = [
        json.dumps([str(value) for value in row])
        for model in (RequestLog, AuditEntry, LoginAttempt)
        for row in model.objects.values_list()
    ]
    kept = "\n".join([*rows, caplog.text])
    assert re.search("changePassword", kept)
    for secret in (RIGHT, NEW, tokens["accessToken"], tokens["refreshToken"]):
        assert secret not in kept
