"""The door of every login: Django's `authenticate` asks here first."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from tracking import guard


class AttemptLimitBackend:
    """Stands first in AUTHENTICATION_BACKENDS and ends attempts above a limit.

    It knows nobody: an attempt within the limits goes on to the next backend. It has no `get_user`,
    by which Django would take it for a backend whose users can be logged in.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **credentials: Any
    ) -> None:
        """Count an attempt by name; raises PermissionDenied when no backend may look at it.

        Without a request (a command, a test) or a name (a token, a remote user) nothing is counted.
        """
        if username is None:
            username = credentials.get(get_user_model().USERNAME_FIELD)
        if request is None or username is None:
            return
        if guard.limit_login(request, str(username)).refused:
            raise PermissionDenied

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, **credentials: Any
    ) -> None:
        await sync_to_async(self.authenticate)(request, username, **credentials)
