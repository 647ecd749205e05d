"""Accounts to sign in with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.users.front import RIGHT
from tracking import journal, limiter
from users.models import User


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: object) -> Iterator[None]:
    settings.TRACKING_STATE_DIR = tmp_path
    journal.close()
    limiter._memory.clear()
    yield
    limiter._memory.clear()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", password=RIGHT)


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password=RIGHT)
