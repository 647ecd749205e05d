"""Exports of the record: a mutation that answers with a link to the file."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated

import strawberry
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from strawberry.types import Info

from schema import links
from schema.errors import ErrorCode, InputError, Refusal, UserError
from schema.filters import RequestLogFilter, matching
from schema.keyset import stated
from schema.permissions import require, signed_in
from tracking.export import Format

PERMISSION = "tracking.view_requestlog"
DOOR = "export_logs"  # the name of its URL
MINUTES = int(links.LIFETIME.total_seconds() // 60)


@strawberry.enum(description="How an exported file is written.")
class ExportFormat(enum.Enum):
    CSV = strawberry.enum_value(
        "CSV",
        description="Comma-separated values with a header (RFC 4180) for spreadsheets: no cell is"
        " a formula, which takes apostrophes here and there.",
    )
    JSON_LINES = strawberry.enum_value(
        "JSON_LINES", description="One JSON object on each line, the texts as they are."
    )


@strawberry.input(description="What to export, and how.")
class ExportLogsInput:
    filter: RequestLogFilter | None = strawberry.field(
        default=strawberry.UNSET, description="Which requests; without one all."
    )
    format: ExportFormat = strawberry.field(
        default=ExportFormat.CSV, description="How the file is written."
    )


@strawberry.type(description="What became of exportLogs.")
class ExportLogsPayload:
    url: str | None = strawberry.field(
        default=None,
        description="Where a GET answers with the file, and needs no token of its own: keep it as"
        " secret as one. Null when there are errors.",
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="Until when it can be opened; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class ExportMutations:
    @strawberry.mutation(
        description="Make a link to a file of the requests that a filter finds, the oldest first."
        f" It is good for {MINUTES} minutes, as long as the caller keeps his password and the"
        f" permission {PERMISSION}, which this needs. Each use is in the audit log."
    )
    def export_logs(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ExportLogsInput, strawberry.argument(description="Which requests, and the format.")
        ],
    ) -> ExportLogsPayload | None:
        require(info, PERMISSION)
        asked = stated(input.filter)
        try:
            matching(asked, timezone.now())
        except Refusal as refusal:
            return ExportLogsPayload(errors=[_wrong_filter(refusal.message)])
        token, expires_at = links.sign(signed_in(info), asked, Format[input.format.name])
        if len(token) > links.LONGEST:
            return ExportLogsPayload(errors=[_wrong_filter(TOO_LONG)])
        path = f"{reverse(DOOR)}?{urlencode({'token': token})}"
        url = info.context.request.build_absolute_uri(path)
        return ExportLogsPayload(url=url, expires_at=expires_at, errors=[])


TOO_LONG = (
    "filter: it is too long for a link. A network often says the same as many addresses; or export"
    " in several parts."
)


def _wrong_filter(message: str) -> UserError:
    return InputError(code=ErrorCode.INVALID_INPUT, message=message, path=["input", "filter"])
