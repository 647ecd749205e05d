"""What holds for every test."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import hypothesis
import pytest
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from pytest_django import DjangoDbBlocker, Settings

from tracking import limiter, policy

# A busy machine is no fault of what is tested; what must be quick is measured on purpose.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(autouse=True)
def nothing_in_the_background(settings: Settings) -> None:
    """No thread writes to the test's database or outlives it; tests that want one turn it on."""
    settings.TRACKING_BACKGROUND_THREAD = False


@pytest.fixture(autouse=True)
def no_rules_but_those_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has read the (empty) book of rules; a test that changes it sees that at once."""
    policy.forget()
    monkeypatch.setattr(policy, "_version", 0)
    monkeypatch.setattr(policy, "_next_look", math.inf)


@pytest.fixture(autouse=True)
def no_window_ends_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of limits begin with the test, and not where the hour of the run happens to fall."""
    begun = time.time()

    def window(value: object, period: int) -> int:
        return int(begun + period * (math.floor((time.time() - begun) / period) + 1))

    monkeypatch.setattr(limiter._core(), "_get_window", window)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Threads that answered an asynchronous test keep their connection; PostgreSQL minds that."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(END_OTHERS)


@pytest.fixture(scope="session", autouse=True)
def passwords_are_hashed_quickly() -> Iterator[None]:
    """The service's own hasher takes its time on purpose; tests of that ask for it."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


# What `migrate` makes for the whole run, at a cost that each emptied database would pay again.
MADE_ONCE = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}


def empty_the_rest(
    style: object, connection: BaseDatabaseWrapper, reset_sequences: bool, allow_cascade: bool
) -> list[str]:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    emptied = sorted(set(tables) - MADE_ONCE)
    statements: list[str] = connection.ops.sql_flush(
        style, emptied, reset_sequences=reset_sequences, allow_cascade=allow_cascade
    )
    return statements


@pytest.fixture(scope="session", autouse=True)
def databases_are_emptied_quickly() -> None:
    """Keep content types, permissions and roles when a test ends that committed its changes."""
    flush.sql_flush = empty_the_rest
    flush.emit_post_migrate_signal = lambda *_, **__: None
