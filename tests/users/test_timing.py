"""How long a wrong login takes tells nothing of why it is wrong.

Measured, so only where somebody asks for it on a quiet machine: MEASURE=1 python -m pytest -s
tests/users/test_timing.py. What must hold everywhere, one hasher call for each reason, is asserted
in test_accounts.py.
"""

from __future__ import annotations

import os
import statistics
import time

import pytest
from pytest_django import Settings

from tests.users.front import RIGHT, log_in, mistake
from users.models import User

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("MEASURE" not in os.environ, reason="a measurement: set MEASURE=1"),
]

ROUNDS = 30
MOST = 0.15  # of the time of a wrong password
REASONS = {
    "wrong password": ("ada", "wrong"),
    "unknown user": ("nobody", RIGHT),
    "inactive user": ("inactive", RIGHT),
    "inactive user, wrong password": ("inactive", "wrong"),
    "unusable password": ("unusable", RIGHT),
    "a name with NUL": ("a\0da", RIGHT),
    "too long a password": ("ada", "x" * 5000),
}


def test_all_wrong_logins_take_the_same_time(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    User.objects.create_user("ada", password=RIGHT)
    User.objects.create_user("inactive", password=RIGHT, is_active=False)
    User.objects.create_user("unusable")
    taken: dict[str, list[float]] = {reason: [] for reason in REASONS}
    for _ in range(ROUNDS):  # in turn, so that a slow second is nobody's alone
        for reason, (username, password) in REASONS.items():
            began = time.perf_counter()
            payload = log_in(username, password)
            taken[reason].append(time.perf_counter() - began)
            assert mistake(payload) == "INVALID_CREDENTIALS"
    # The quick quarter: what other programs of the machine add is not ours.
    quick = {reason: statistics.quantiles(times, n=4)[0] for reason, times in taken.items()}
    usual = quick["wrong password"]
    for reason, seconds in quick.items():
        print(f"{reason:30} {seconds * 1000:7.2f} ms  {seconds / usual - 1:+.1%}")  # noqa: T201
    assert all(abs(seconds / usual - 1) < MOST for seconds in quick.values())
