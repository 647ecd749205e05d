"""One superuser is always left, whichever way code takes them away; names have one spelling."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from users.accounts import AccountError, deactivate
from users.models import LastSuperuserError, User, canonical_username


def superusers(*names: str) -> list[User]:
    return [User.objects.create_superuser(name, password="correct horse 1") for name in names]


def demote(user: User) -> None:
    user.is_superuser = False
    user.save()


def switch_off(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def delete_once_demoted_in_memory(user: User) -> None:
    user.is_superuser = False
    user.delete()


TAKEN_AWAY: list[Callable[[User], object]] = [
    demote,
    switch_off,
    User.delete,
    delete_once_demoted_in_memory,
    lambda user: User.objects.filter(pk=user.pk).delete(),
]


@pytest.mark.django_db
@pytest.mark.parametrize("take_away", TAKEN_AWAY)
def test_the_last_superuser_stays_and_another_one_does_not_have_to(
    take_away: Callable[[User], object],
) -> None:
    first, last = superusers("first", "last")
    User.objects.create_user("ordinary")

    take_away(first)
    with pytest.raises(LastSuperuserError, match="last active superuser"), transaction.atomic():
        take_away(last)

    assert [user.username for user in User.objects.superusers()] == ["last"]


@pytest.mark.django_db
def test_all_superusers_cannot_be_deleted_together() -> None:
    superusers("first", "second")
    with pytest.raises(LastSuperuserError), transaction.atomic():
        User.objects.all().delete()
    assert User.objects.superusers().count() == 2


@pytest.mark.django_db
def test_a_superuser_who_is_not_active_does_not_count() -> None:
    active, idle = superusers("active", "idle")
    switch_off(idle)
    with pytest.raises(AccountError) as refused:
        deactivate(active, active)
    assert refused.value.code == "PROTECTED_TARGET"
    idle.delete()
    assert User.objects.get() == active


@pytest.mark.django_db
def test_ordinary_accounts_come_and_go_also_where_nobody_is_superuser() -> None:
    user = User.objects.create_user("ordinary")
    switch_off(user)
    user.delete()
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_superusers_taken_away_at_once_one_stays() -> None:
    for _ in range(5):
        User.objects.all()._raw_delete("default")
        both = superusers("first", "second")
        start = threading.Barrier(2)

        def take(user: User, start: threading.Barrier = start) -> None:
            try:
                start.wait()
                user.delete() if user.username == "first" else deactivate(user, user)
            except (LastSuperuserError, AccountError):
                pass
            finally:
                connection.close()

        threads = [threading.Thread(target=take, args=(user,)) for user in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert User.objects.superusers().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("other", ["ÅSA", "A\u030asa", "Åsa", "\uff21\u030asa"])
def test_spellings_that_people_take_for_the_same_are_one_name(other: str) -> None:
    User.objects.create_user("åsa")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user(other)
    with pytest.raises(ValidationError, match="already exists"):
        User(username=other, password="x").full_clean()
    assert User.objects.get_by_natural_key(other).username == "åsa"


def test_a_spelling_is_found_in_one_step() -> None:
    for text in ("ŉ", "İ", "ß", "ﬃ", "ᾳ", "\u0345a", "ΐ"):
        assert canonical_username(canonical_username(text)) == canonical_username(text)
