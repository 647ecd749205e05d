"""Where one is logged in by token."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

import strawberry
from django.utils import timezone
from strawberry.types import Info

from schema.errors import ErrorCode, InputError, UserError
from schema.permissions import signed_in
from schema.places import Place, place_of
from schema.scalars import IPAddress
from users import accounts
from users.middleware import session_of
from users.models import Session as Row
from users.models import User

MOST_SESSIONS = 100


@strawberry.type(description="A session of one's own, begun by `login`.")
class Session:
    id: strawberry.ID = strawberry.field(description="Its id, for endSession.")
    address: IPAddress | None = strawberry.field(
        description="The client's address at the login; null when unknown."
    )
    agent: str = strawberry.field(description="What the client said it is; may be empty.")
    created_at: datetime = strawberry.field(description="When the login was.")
    last_used_at: datetime = strawberry.field(
        description="When its refresh token was last exchanged; at first, when the login was."
    )
    current: bool = strawberry.field(description="Whether this request belongs to it.")

    @strawberry.field(description="Where the address is; null when unknown.")
    def place(self) -> Place | None:
        return place_of(self.address)


@strawberry.type
class SessionQueries:
    @strawberry.field(
        description="One's own sessions that were begun by `login` and are not over, the last used"
        f" first, at most {MOST_SESSIONS}. Needs a login."
    )
    def sessions(self, info: Info) -> list[Session] | None:
        user = signed_in(info)
        current = session_of(info.context.request)
        rows = Row.objects.live().filter(
            user=user, refresh_tokens__used_at=None, refresh_tokens__expires_at__gt=timezone.now()
        )  # a session has one token that is not used; when that is too old nobody goes on with it
        return [
            Session(
                id=strawberry.ID(str(row.pk)),
                address=IPAddress(row.address) if row.address else None,
                agent=row.user_agent,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
                current=current is not None and row.pk == current.pk,
            )
            for row in rows.order_by("-last_used_at", "-created_at", "id")[:MOST_SESSIONS]
        ]


@strawberry.input(description="Which session ends.")
class EndSessionInput:
    id: strawberry.ID = strawberry.field(description="The session's id, as `sessions` has it.")


@strawberry.type(description="What became of endSession.")
class EndSessionPayload:
    ended: bool = strawberry.field(default=False, description="Whether the session ended now.")
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class SessionMutations:
    @strawberry.mutation(
        description="End one of one's own sessions, at once in every process. Needs a login."
    )
    def end_session(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            EndSessionInput, strawberry.argument(description="Which session.")
        ],
    ) -> EndSessionPayload | None:
        row = _found(signed_in(info), input.id)
        if row is None or not accounts.log_out(row, info.context.request):
            message = "There is no such session of yours, or it is over."
            error = InputError(code=ErrorCode.NOT_FOUND, message=message, path=["input", "id"])
            return EndSessionPayload(errors=[error])
        return EndSessionPayload(ended=True, errors=[])


def _found(user: User, key: str) -> Row | None:
    try:
        return Row.objects.live().filter(user=user, pk=uuid.UUID(key)).first()
    except ValueError:
        return None  # this text is the id of no session
