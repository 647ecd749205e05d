"""How long sessions and refresh tokens are kept after they are over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from users.models import RefreshToken, Session

KEPT_FOR = timedelta(days=30)  # a session that is over, for people to look at
BATCH = 1000


def forget(now: datetime) -> int:
    """Delete what is over, in batches; return how many rows went.

    A refresh token is kept until it expires, used or not: until then its second use tells a theft.
    """
    long_ago = now - KEPT_FOR
    over = Session.objects.filter(Q(ended_at__lt=long_ago) | Q(expires_at__lt=long_ago))
    useless = RefreshToken.objects.filter(Q(expires_at__lt=now) | Q(session__in=over))
    return _deleted(useless) + _deleted(over)


def _deleted(rows: QuerySet[Any]) -> int:
    deleted = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        deleted += rows.filter(pk__in=batch).delete()[0]
    return deleted
