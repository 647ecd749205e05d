"""One account for all spellings of a name, one answer to all wrong logins, no access left over."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections
from django.test import Client
from pytest_django import Settings

from schema import cost
from tests.users.front import (
    CHANGE,
    LOG_IN,
    LOG_OUT,
    RIGHT,
    SIGN_UP,
    access,
    ask,
    code,
    log_in,
    mistake,
    refresh,
    who,
)
from tracking.models import AuditEntry, LoginAttempt
from users import accounts
from users.models import Session, User, canonical_username

pytestmark = pytest.mark.django_db
NEW = "another horse, another staple"
ADMIN = "/admin/login/"


def sign_up(username: str, password: str = RIGHT) -> dict[str, Any]:
    payload: dict[str, Any] = ask(SIGN_UP, username=username, password=password)["data"]["signup"]
    return payload


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=RIGHT)


@pytest.fixture
def desk(root: User) -> Client:
    """The admin, as the superuser sees it."""
    client = Client()
    client.force_login(root)
    return client


# -- Names

# A name, and other ways to write what people take for the same.
SPELLINGS = {
    "ada": ["ADA", "Ada", "ａｄａ", "ＡＤＡ", "𝐚𝐝𝐚", "ⓐⓓⓐ"],
    "office": ["oﬃce", "oﬀice", "OFFICE"],
    "kelvin": ["\u212aelvin", "KELVIN"],
    "straße": ["STRASSE", "strasse", "STRAẞE"],
    "josé": ["JOSE\u0301", "jose\u0301", "JOSÉ"],
    "i\u0307stanbul": ["İSTANBUL", "İstanbul"],
    "σίσυφος": ["ΣΊΣΥΦΟΣ", "σίσυφοσ"],
    "ångström": ["\u212bngström", "A\u030angstro\u0308m"],
    "x2": ["x²", "x₂"],
}
PAIRS = [(name, other) for name, others in SPELLINGS.items() for other in others]


@pytest.mark.parametrize(("name", "other"), PAIRS, ids=ascii)
def test_a_name_is_taken_in_every_spelling(name: str, other: str) -> None:
    assert canonical_username(name) == canonical_username(other)
    User.objects.create_user(name, password=RIGHT)
    assert mistake(sign_up(other)) == "USERNAME_TAKEN"
    with pytest.raises(ValidationError, match="already exists"):
        User(username=other, password="x").full_clean()


@pytest.mark.parametrize(("name", "other"), PAIRS, ids=ascii)
def test_every_spelling_of_a_name_logs_in(name: str, other: str) -> None:
    User.objects.create_user(name, password=RIGHT)
    for spelling in (name, other):
        assert who(log_in(spelling)["accessToken"]) == unicodedata.normalize("NFKC", name)


def test_the_dotless_letter_of_turkish_is_another_letter() -> None:
    assert sign_up("irmak")["errors"] == []
    assert sign_up("ırmak")["errors"] == []


def test_folding_a_name_twice_changes_nothing_more() -> None:
    for point in range(0x110000):
        folded = canonical_username(chr(point))
        if folded != chr(point):
            assert canonical_username(folded) == folded, hex(point)


@pytest.mark.parametrize("other", ["ADA", "ａｄａ"])
def test_no_door_makes_a_second_account_of_a_name(ada: User, desk: Client, other: str) -> None:
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", "--noinput", username=other, email="")
    form = {"username": other, "password1": NEW, "password2": NEW, "usable_password": "true"}
    answer = desk.post("/admin/users/user/add/", form)
    assert b"already exists" in answer.content
    with pytest.raises(IntegrityError):
        User.objects.create_user(other)


def test_the_admin_gives_no_account_the_name_of_another(ada: User, bob: User, desk: Client) -> None:
    page = f"/admin/users/user/{bob.pk}/change/"
    form = {"username": "ＡDA", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert b"already exists" in desk.post(page, form).content
    bob.refresh_from_db()
    assert bob.username == "bob"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        " ada",
        "a\0b",
        "a\u202eb",
        "a\u200bb",
        "\ufdfa" * 20,
        "x" * 151,
        "a\nb",
        "/x",
    ],
    ids=ascii,
)
def test_what_is_no_name_is_refused_and_can_be_mended(name: str) -> None:
    payload = sign_up(name)
    assert mistake(payload) == "INVALID_INPUT"
    assert payload["errors"][0]["path"] == ["input", "username"]
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_sign_up_by_one_name_at_once_one_wins() -> None:
    spellings = ["ada", "ADA", "ａｄａ", "aDa", "Ada", "ＡＤＡ"] * 3

    def once(name: str) -> str:
        try:
            return mistake(sign_up(name))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(spellings)) as pool:
        answers = list(pool.map(once, spellings))
    assert sorted(answers) == ["", *["USERNAME_TAKEN"] * (len(spellings) - 1)]
    assert User.objects.get().canonical == "ada"


def test_signing_up_gives_no_power_and_logs_nobody_in() -> None:
    more = {"isStaff": True, "isSuperuser": True, "groups": [1], "id": 1, "isActive": True}
    for name, value in more.items():
        answer = ask(SIGN_UP, username="eve", password=RIGHT, **{name: value})
        assert code(answer) == "BAD_USER_INPUT"
    assert sign_up("eve")["errors"] == []
    eve = User.objects.get()
    assert (eve.is_staff, eve.is_superuser) == (False, False)
    assert not eve.get_all_permissions()
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 1025, "password", "12345678", "adalovelace1"]
)
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    payload = sign_up("adalovelace", password)
    assert mistake(payload) == "WEAK_PASSWORD"
    assert payload["errors"][0]["path"] == ["input", "password"]


@pytest.mark.parametrize(
    "password",
    ["x" * 7 + "é", " eight 8 ", "long" * 256, "no_digits_nor_capitals", "\U0001f40e" * 8],
)
def test_a_password_is_kept_as_it_was_typed(password: str) -> None:
    assert sign_up("ada", password)["errors"] == []
    assert log_in("ada", password)["errors"] == []
    if password != password.strip():
        assert mistake(log_in("ada", password.strip())) == "INVALID_CREDENTIALS"


# -- Wrong logins


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was hashed, one entry for each call."""
    seen: list[str] = []
    real = MD5PasswordHasher.encode

    def encode(self: MD5PasswordHasher, password: str, salt: str) -> str:
        seen.append(password)
        return real(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    return seen


def inactive() -> None:
    User.objects.create_user("eve", password=RIGHT, is_active=False)


def without_password() -> None:
    User.objects.create_user("eve")


def with_password() -> None:
    User.objects.create_user("eve", password=RIGHT)


WRONG: dict[str, tuple[Callable[[], None], str, str]] = {
    "unknown user": (lambda: None, "eve", RIGHT),
    "wrong password": (with_password, "eve", "wrong"),
    "empty password": (with_password, "eve", ""),
    "too long a password": (with_password, "eve", "x" * 5000),
    "inactive user": (inactive, "eve", RIGHT),
    "inactive user, wrong password": (inactive, "eve", "wrong"),
    "unusable password": (without_password, "eve", "!"),
    "unknown user, too long a password": (lambda: None, "eve", "x" * 5000),
    "no name": (lambda: None, "", RIGHT),
    "a name with NUL": (lambda: None, "e\0ve", RIGHT),
    "a name that nobody has": (lambda: None, "\u202e \n", RIGHT),
    "too long a name": (lambda: None, "x" * 5000, RIGHT),
}


def by_graphql(username: str, password: str) -> tuple[Any, ...]:
    body = {"query": LOG_IN, "variables": {"input": {"username": username, "password": password}}}
    answer = Client().post("/graphql/", body, content_type="application/json")
    return answer.status_code, answer.content


def by_rest(username: str, password: str) -> tuple[Any, ...]:
    body = {"username": username, "password": password}
    answer = Client().post("/api/login/", body, content_type="application/json")
    return answer.status_code, answer.content


def by_admin(username: str, password: str) -> tuple[Any, ...]:
    answer = Client().post(ADMIN, {"username": username, "password": password})
    return answer.status_code, answer.context and answer.context["errors"]


@pytest.mark.parametrize("door", [by_graphql, by_rest])
@pytest.mark.parametrize("reason", WRONG)
def test_all_wrong_logins_look_alike_and_hash_once(
    hashes: list[str], door: Callable[[str, str], tuple[Any, ...]], reason: str
) -> None:
    prepare, username, password = WRONG[reason]
    prepare()
    hashes.clear()
    told = door(username, password)
    assert len(hashes) == 1
    bob = User.objects.create_user("bob", password=RIGHT)
    assert told == door("bob", "wrong")
    assert "INVALID_CREDENTIALS" in str(told)
    assert not Session.objects.exists()
    bob.refresh_from_db()
    assert bob.last_login is None


@pytest.mark.parametrize("reason", ["unknown user", "wrong password", "inactive user"])
def test_the_admin_tells_wrong_logins_alike(hashes: list[str], reason: str) -> None:
    prepare, username, password = WRONG[reason]
    prepare()
    hashes.clear()
    told = by_admin(username, password)
    assert len(hashes) == 1
    User.objects.create_user("bob", password=RIGHT)
    assert told == by_admin("bob", "wrong")


def test_the_right_password_hashes_once_too(ada: User, hashes: list[str]) -> None:
    assert log_in("ada")["errors"] == []
    assert hashes == [RIGHT]


# -- Attempts on record


@pytest.mark.parametrize(
    ("door", "path"),
    [(by_graphql, "/graphql/"), (by_rest, "/api/login/"), (by_admin, ADMIN)],
    ids=["graphql", "rest", "admin"],
)
def test_each_attempt_is_one_row_at_every_door_also_when_it_is_refused(
    root: User,
    hashes: list[str],
    settings: Settings,
    door: Callable[[str, str], tuple[Any, ...]],
    path: str,
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    hashes.clear()
    door("ROOT", RIGHT)
    for number in range(6):
        door("root", f"wrong {number}")
    door("root", RIGHT)
    rows = LoginAttempt.objects.order_by("id").values_list("account", "outcome", "door")
    assert list(rows) == [
        ("root", "SUCCEEDED", path),
        *[("root", "FAILED", path)] * 4,
        *[("root", "LIMITED", path)] * 3,
    ]
    assert len(hashes) == 5


def test_doors_count_together(root: User, hashes: list[str], settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    hashes.clear()
    for door in (by_graphql, by_rest, by_admin) * 4:
        door("root", "wrong")
    assert len(hashes) == 5
    assert LoginAttempt.objects.filter(outcome="FAILED").count() == 5
    assert LoginAttempt.objects.filter(outcome="LIMITED").count() == 7


def test_two_hundred_documents_of_five_logins_get_five_verdicts(
    ada: User, hashes: list[str], settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    hashes.clear()
    fields = ["a", "b", "c", "d", "e"]
    login = 'login(input: {username: "ada", password: "wrong"}) { errors { code } }'
    document = "mutation {" + " ".join(f"{field}: {login}" for field in fields) + "}"
    codes = []
    for _ in range(200):
        answer = Client().post("/graphql/", {"query": document}, content_type="application/json")
        data = answer.json()["data"]
        codes += [data[field]["errors"][0]["code"] for field in fields]
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 995
    assert len(hashes) == 5
    assert LoginAttempt.objects.count() == 1000


def test_a_thousand_aliases_get_five_verdicts_without_the_limits_on_documents(
    ada: User, hashes: list[str], settings: Settings
) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    settings.GRAPHQL_LIMITS = dict.fromkeys(
        ["body_bytes", "tokens", "aliases", "root_fields", "root_mutations", "fields", "cost"],
        10_000_000,
    ) | {"fields_per_key": 10_000, "lines": 10_000}
    cost.limits.cache_clear()
    hashes.clear()
    login = 'login(input: {username: "ada", password: "wrong"}) { errors { code } }'
    document = "mutation {" + " ".join(f"a{number}: {login}" for number in range(1000)) + "}"
    try:
        answer = Client().post("/graphql/", {"query": document}, content_type="application/json")
    finally:
        del settings.GRAPHQL_LIMITS
        cost.limits.cache_clear()
    codes = [payload["errors"][0]["code"] for payload in answer.json()["data"].values()]
    assert sorted(codes) == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 995
    assert len(hashes) == 5


def test_the_wait_is_told_in_the_payload_and_in_the_header(ada: User, settings: Settings) -> None:
    settings.TRACKING_LIMITS = {"graphql": "off"}
    [by_graphql("ada", "wrong") for _ in range(5)]
    document = """mutation { login(input: {username: "ada", password: "wrong"}) {
        errors { __typename code ... on RateLimitedError { retryAfter } } } }"""
    answer = Client().post("/graphql/", {"query": document}, content_type="application/json")
    (error,) = answer.json()["data"]["login"]["errors"]
    assert (error["__typename"], error["code"]) == ("RateLimitedError", "RATE_LIMITED")
    assert 0 < error["retryAfter"] <= 60
    assert "login_account" not in str(answer.headers)


# -- Ends of access


def leave(tokens: dict[str, Any]) -> None:
    ask(LOG_OUT, tokens["accessToken"])


def leave_everywhere(tokens: dict[str, Any]) -> None:
    ask(LOG_OUT, log_in("ada")["accessToken"], everywhere=True)


def change_password(tokens: dict[str, Any]) -> None:
    answer = ask(CHANGE, tokens["accessToken"], oldPassword=RIGHT, newPassword=NEW)
    assert answer["data"]["changePassword"]["errors"] == []


def change_password_in_the_admin(tokens: dict[str, Any]) -> None:
    desk = Client()
    desk.force_login(User.objects.create_superuser("root"))
    pk = User.objects.get(username="ada").pk
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert desk.post(f"/admin/users/user/{pk}/password/", form).status_code == 302


def change_password_by_command(tokens: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("getpass.getpass", lambda *_, **__: NEW)
        call_command("changepassword", "ada", stdout=io.StringIO())


def change_password_in_the_database(tokens: dict[str, Any]) -> None:
    other = User(username="x")
    other.set_password(NEW)
    User.objects.filter(username="ada").update(password=other.password)


def take_password(tokens: dict[str, Any]) -> None:
    ada = User.objects.get(username="ada")
    ada.set_unusable_password()
    ada.save()


def deactivate(tokens: dict[str, Any]) -> None:
    ada = User.objects.get(username="ada")
    ada.is_active = False
    ada.save()


def deactivate_and_back(tokens: dict[str, Any]) -> None:
    deactivate(tokens)
    ada = User.objects.get(username="ada")
    ada.is_active = True
    ada.save()


def deactivate_in_the_database(tokens: dict[str, Any]) -> None:
    User.objects.filter(username="ada").update(is_active=False)


def deactivate_in_the_admin(tokens: dict[str, Any]) -> None:
    desk = Client()
    desk.force_login(User.objects.create_superuser("root"))
    pk = User.objects.get(username="ada").pk
    form = {"username": "ada", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert desk.post(f"/admin/users/user/{pk}/change/", form).status_code == 302


def delete(tokens: dict[str, Any]) -> None:
    User.objects.get(username="ada").delete()


ENDS = [
    leave,
    leave_everywhere,
    change_password,
    change_password_in_the_admin,
    change_password_by_command,
    change_password_in_the_database,
    take_password,
    deactivate,
    deactivate_and_back,
    deactivate_in_the_database,
    deactivate_in_the_admin,
    delete,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_access_ends_at_once_and_stays_ended(
    ada: User, bob: User, end: Callable[[dict[str, Any]], None]
) -> None:
    tokens, other = log_in("ada"), access("bob")
    assert who(tokens["accessToken"]) == "ada"
    end(tokens)
    assert who(tokens["accessToken"]) == "UNAUTHENTICATED"
    assert mistake(refresh(tokens["refreshToken"])) == "INVALID_TOKEN"
    assert who(other) == "bob"


@pytest.mark.parametrize("end", ENDS[2:], ids=lambda end: end.__name__)
def test_a_session_of_the_browser_ends_as_well(
    ada: User, end: Callable[[dict[str, Any]], None]
) -> None:
    browser = Client()
    browser.force_login(ada)
    assert code(ask("{ me { username } }", None, browser)) == "ALLOWED"
    end(log_in("ada"))
    if end is not deactivate_and_back:  # Django asks for the flag alone
        assert code(ask("{ me { username } }", None, browser)) == "UNAUTHENTICATED"


def test_leaving_ends_this_session_and_no_other(ada: User) -> None:
    here, there = log_in("ada"), log_in("ada")
    answer = ask(LOG_OUT, here["accessToken"])
    assert answer["data"]["logout"] == {"sessionsEnded": 1, "errors": []}
    assert (who(here["accessToken"]), who(there["accessToken"])) == ("UNAUTHENTICATED", "ada")
    answer = ask(LOG_OUT, there["accessToken"], everywhere=True)
    assert answer["data"]["logout"]["sessionsEnded"] == 1


def test_a_login_that_was_under_way_when_the_password_changed_is_worth_nothing(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was right when it was looked at, and is not when the session begins."""
    real = accounts.authenticate

    def authenticate(*given: Any, **more: Any) -> Any:
        user = real(*given, **more)
        change_password_in_the_database({})
        return user

    monkeypatch.setattr(accounts, "authenticate", authenticate)
    tokens = log_in("ada")
    assert who(tokens["accessToken"]) == "UNAUTHENTICATED"
    assert mistake(refresh(tokens["refreshToken"])) == "INVALID_TOKEN"


def test_changing_the_password_takes_the_present_one(ada: User) -> None:
    token = access("ada")
    answer = ask(CHANGE, token, oldPassword="wrong", newPassword=NEW)
    payload = answer["data"]["changePassword"]
    assert mistake(payload) == "INVALID_CREDENTIALS"
    assert payload["errors"][0]["path"] == ["input", "oldPassword"]
    answer = ask(CHANGE, token, oldPassword=RIGHT, newPassword="short")
    assert mistake(answer["data"]["changePassword"]) == "WEAK_PASSWORD"
    assert who(token) == "ada"
    assert mistake(log_in("ada", NEW)) == "INVALID_CREDENTIALS"


def test_guessing_the_present_password_is_limited_like_a_login(
    ada: User, hashes: list[str], settings: Settings
) -> None:
    token = access("ada")
    settings.TRACKING_LIMITS = {"graphql": "off"}
    hashes.clear()
    payloads = [
        ask(CHANGE, token, oldPassword=f"wrong {number}", newPassword=NEW)["data"]["changePassword"]
        for number in range(8)
    ]
    assert [mistake(payload) for payload in payloads] == [
        *["INVALID_CREDENTIALS"] * 5,
        *["RATE_LIMITED"] * 3,
    ]
    assert len(hashes) == 5


def test_what_happens_to_accounts_is_on_record_without_secrets(ada: User) -> None:
    sign_up("eve")
    tokens = log_in("ada")
    change_password(tokens)
    ask(LOG_OUT, log_in("ada", NEW)["accessToken"])
    entries = list(AuditEntry.objects.order_by("id").values())
    assert [(entry["action"], entry["target"]) for entry in entries] == [
        ("signed_up", "user eve"),
        ("password_changed", "user ada"),
        ("session_logged_out", "user ada"),
    ]
    text = json.dumps(entries, default=str)
    for secret in (RIGHT, NEW, tokens["accessToken"], tokens["refreshToken"], "md5$"):
        assert secret not in text
