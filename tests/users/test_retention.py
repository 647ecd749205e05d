"""Sessions and refresh tokens that are over do not stay for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from project.tasks import forget_old_sessions
from users import retention
from users.models import RefreshToken, Session, User

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def session(user: User, expires: timedelta, ended: timedelta | None = None) -> Session:
    return Session.objects.create(
        user=user, expires_at=NOW + expires, ended_at=None if ended is None else NOW + ended
    )


def token(of: Session, name: str, expires: timedelta, used: bool = False) -> None:
    RefreshToken.objects.create(
        session=of, digest=name, expires_at=NOW + expires, used_at=NOW if used else None
    )


def test_what_is_over_goes_and_what_is_in_use_stays(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    live, ended = session(ada, DAY), session(ada, DAY, -29 * DAY)
    for number in range(5):
        gone = session(ada, DAY, -31 * DAY) if number % 2 else session(ada, -31 * DAY)
        token(gone, f"gone {number}", DAY)
    token(live, "present", DAY)
    token(live, "used, and tells a theft", DAY, used=True)
    token(live, "expired", -DAY)

    assert retention.forget(NOW) == 11

    assert set(Session.objects.all()) == {live, ended}
    assert set(RefreshToken.objects.values_list("digest", flat=True)) == {
        "present", "used, and tells a theft",
    }  # fmt: skip
    assert retention.forget(NOW) == 0


def test_the_worker_does_it_by_itself(ada: User) -> None:
    session(ada, timedelta(days=-3650))
    forget_old_sessions.call_local()
    assert not Session.objects.exists()
