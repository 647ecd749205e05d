"""Accounts in the admin: nobody gets more power than he has, and one superuser is always left."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.http import HttpResponse
from django.test import Client

from tests.users.front import RIGHT, access, who
from tracking.models import AuditEntry
from users.models import Session, User

pytestmark = pytest.mark.django_db

USERS = "/admin/users/user/"
SESSIONS = "/admin/users/session/"
DATES = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password=RIGHT)


@pytest.fixture
def clerk() -> User:
    """An administrator who is no superuser."""
    user = User.objects.create_user("clerk", password=RIGHT, is_staff=True)
    may = ["view_user", "add_user", "change_user", "delete_user"]
    user.user_permissions.set(Permission.objects.filter(codename__in=may))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def save(client: Client, user: User, **changes: Any) -> HttpResponse:
    """Send the form of an account as it stands, but for these changes (None: not ticked)."""
    form = {"username": user.username, "email": user.email, **DATES}
    form |= {name: "on" for name in ("is_active", "is_staff", "is_superuser") if vars(user)[name]}
    form |= changes
    return client.post(
        f"{USERS}{user.pk}/change/", {name: value for name, value in form.items() if value}
    )


@pytest.mark.parametrize("flag", ["is_superuser", "is_active"])
def test_the_form_says_why_the_last_superuser_stays(root: User, flag: str) -> None:
    refused = save(signed_in(root), root, **{flag: None})

    assert refused.status_code == 200
    assert "This is the last active superuser" in refused.content.decode()
    assert User.objects.superusers().get() == root
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("door", ["delete", "action"])
def test_the_last_superuser_is_protected_from_deletion(root: User, door: str) -> None:
    ada = User.objects.create_user("ada")
    client = signed_in(root)
    chosen = {"action": "delete_selected", "_selected_action": [root.pk, ada.pk], "post": "yes"}

    refused = (
        client.post(f"{USERS}{root.pk}/delete/", {"post": "yes"})
        if door == "delete"
        else client.post(USERS, chosen)
    )

    assert refused.status_code == 200
    assert "This is the last active superuser" in refused.content.decode()
    assert User.objects.count() == 2


def test_all_superusers_together_are_protected_too(root: User) -> None:
    other = User.objects.create_superuser("other")
    client = signed_in(root)
    chosen = {"action": "delete_selected", "_selected_action": [root.pk, other.pk], "post": "yes"}
    assert client.post(USERS, chosen).status_code == 200
    assert User.objects.superusers().count() == 2

    chosen["_selected_action"] = [other.pk]
    assert client.post(USERS, chosen).status_code == 302
    assert User.objects.superusers().get() == root
    assert AuditEntry.objects.get(action="account_deleted").target == "user other"


@pytest.mark.parametrize("name", ["ADA", "Ａda", "two words", ""])
def test_a_name_that_cannot_be_had_is_an_error_of_the_form(root: User, name: str) -> None:
    User.objects.create_user("ada")
    bob = User.objects.create_user("bob")

    changed = save(signed_in(root), bob, username=name)
    made = signed_in(root).post(
        f"{USERS}add/", {"username": name, "password1": RIGHT, "password2": RIGHT,
                         "usable_password": "true"},
    )  # fmt: skip

    assert (changed.status_code, made.status_code) == (200, 200)
    assert b"errorlist" in changed.content
    assert b"errorlist" in made.content
    assert User.objects.count() == 3


def test_an_account_that_was_made_here_can_log_in_by_any_spelling(root: User) -> None:
    made = signed_in(root).post(
        f"{USERS}add/", {"username": "Zoë", "password1": RIGHT, "password2": RIGHT,
                         "usable_password": "true"},
    )  # fmt: skip
    assert made.status_code == 302
    assert who(access("ZOE\u0308")) == "Zoë"
    entry = AuditEntry.objects.get(action="account_made")
    assert (entry.actor, str(entry.address), entry.target) == ("root", "127.0.0.1", "user Zoë")
    assert RIGHT not in str(entry.after)


def test_no_page_shows_a_hash(root: User) -> None:
    password = User.objects.get(pk=root.pk).password
    digest = password.rpartition("$")[2]
    client = signed_in(root)
    for page in (USERS, f"{USERS}{root.pk}/change/", f"{USERS}{root.pk}/password/", SESSIONS):
        assert digest not in client.get(page).content.decode()


@pytest.mark.parametrize(
    "query",
    ["user__password__startswith=md5", "refresh_tokens__digest__startswith=a",
     "user__email__contains=a"],
)  # fmt: skip
def test_no_filter_reaches_secrets(root: User, query: str) -> None:
    assert signed_in(root).get(f"{SESSIONS}?{query}").status_code == 400
    assert signed_in(root).get(f"{USERS}?password__startswith=md5").status_code == 400


def test_who_is_no_superuser_cannot_make_one(clerk: User, root: User) -> None:
    everything = {"is_superuser": "on", "is_staff": "on"}
    everything["user_permissions"] = Permission.objects.get(codename="view_requestlog").pk
    everything["groups"] = Group.objects.get(name="administrator").pk
    ada = User.objects.create_user("ada")

    for target in (clerk, ada):
        assert save(signed_in(clerk), target, **everything).status_code == 302
        target.refresh_from_db()
        assert not target.is_superuser
        assert not target.groups.exists()
        assert not target.has_perm("tracking.view_requestlog")
    assert not ada.is_staff


def test_who_is_no_superuser_cannot_touch_one(clerk: User, root: User) -> None:
    User.objects.create_superuser("other")
    client = signed_in(clerk)
    passwords = {"password1": "another horse 12", "password2": "another horse 12",
                 "usable_password": "true"}  # fmt: skip
    chosen = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}

    assert save(client, root, email="evil@example.org").status_code == 403
    assert client.post(f"{USERS}{root.pk}/password/", passwords).status_code == 403
    assert client.post(f"{USERS}{root.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(USERS, chosen).status_code == 403

    root.refresh_from_db()
    assert root.check_password(RIGHT)
    assert root.email == ""


def test_changes_are_on_record_without_personal_data(root: User) -> None:
    ada = User.objects.create_user("ada", "old@example.org")
    viewer = Group.objects.get(name="viewer")

    save(signed_in(root), ada, email="new@example.org", groups=viewer.pk, is_staff="on")

    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("root", "account_changed", "user ada")
    assert entry.before == {"is_staff": False, "groups": []}
    assert entry.after == {"is_staff": True, "groups": ["viewer"], "email": "changed"}


def test_a_password_that_is_set_here_ends_the_sessions(root: User, ada: User) -> None:
    token = access("ada")
    new = "another horse 12"
    answer = signed_in(root).post(
        f"{USERS}{ada.pk}/password/",
        {"password1": new, "password2": new, "usable_password": "true", "set-password": "1"},
    )
    assert answer.status_code == 302
    assert who(token) == "UNAUTHENTICATED"
    entry = AuditEntry.objects.get(action="password_changed")
    assert (entry.actor, entry.before, entry.after) == ("root", None, None)


@pytest.mark.parametrize("may", [True, False])
def test_sessions_are_ended_by_who_may_change_accounts(clerk: User, ada: User, may: bool) -> None:
    token = access("ada")
    if not may:
        clerk.user_permissions.set(Permission.objects.filter(codename="view_user"))
    client = signed_in(clerk)
    assert b"ada" in client.get(SESSIONS).content
    session = Session.objects.get()

    client.post(SESSIONS, {"action": "end_sessions", "_selected_action": [session.pk]})

    assert who(token) == ("UNAUTHENTICATED" if may else "ada")
    assert AuditEntry.objects.filter(actor="clerk", action="session_ended").count() == int(may)


def test_sessions_of_superusers_are_ended_by_superusers(clerk: User, root: User) -> None:
    token = access("root")
    chosen = {"action": "end_sessions", "_selected_action": [Session.objects.get().pk]}

    said = signed_in(clerk).post(SESSIONS, chosen, follow=True).content.decode()

    assert "only a superuser ends them" in said
    assert who(token) == "root"
    signed_in(root).post(SESSIONS, chosen)
    assert who(token) == "UNAUTHENTICATED"


def test_sessions_are_only_looked_at(root: User, ada: User) -> None:
    access("ada")
    client = signed_in(root)
    page = f"{SESSIONS}{Session.objects.get().pk}/"
    assert client.get(f"{page}change/").status_code == 200
    assert client.post(f"{page}change/", {"end_reason": "x"}).status_code == 403
    assert client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{SESSIONS}add/").status_code == 403
    assert client.get("/admin/users/refreshtoken/").status_code == 404


def test_staff_without_the_permission_see_no_sessions(ada: User) -> None:
    ada.is_staff = True
    ada.save()
    assert signed_in(ada).get(SESSIONS).status_code == 403
