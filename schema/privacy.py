"""Personal data: what is on record about somebody, handed out and erased."""

from __future__ import annotations

import enum
import json
from itertools import islice
from typing import Annotated

import strawberry
from strawberry.scalars import JSON
from strawberry.types import Info

from schema.budget import within_budget
from schema.errors import ErrorCode, InputError, UserError
from schema.keyset import stated
from schema.permissions import actor, require
from schema.rules import LARGEST_INT
from schema.scalars import IPNetwork
from tracking import holdings, privacy
from tracking.datasubject import DataSubject, SubjectError, user
from tracking.engine.address import parse_network

PERMISSION = "tracking.manage_personal_data"
MOST_ROWS = 10_000
SECONDS = 5.0  # that one mutation may go on erasing
COMMAND = "use `manage.py export_data`"
# A person's provider gives out no more; wider ones are somebody's slip, which cannot be undone.
WIDEST_ERASED = {4: 16, 6: 48}


@strawberry.enum(description="What becomes of rows that hold personal data.")
class Fate(enum.Enum):
    DELETED = strawberry.enum_value(holdings.DELETED, description="They are deleted.")
    REDACTED = strawberry.enum_value(
        holdings.REDACTED,
        description="They are kept for another reason, and name the person no longer.",
    )
    KEPT = strawberry.enum_value(holdings.KEPT, description="They stay as they are.")


@strawberry.input
class PersonInput:
    network: IPNetwork | None = strawberry.field(
        default=strawberry.UNSET, description="An address or network; this or `username`."
    )
    username: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="A user's name; there need be no such account any more.",
    )


@strawberry.input(description="Whose data are wanted.")
class ExportPersonalDataInput(PersonInput):
    pass


@strawberry.input(description="Whose data are to go.")
class ErasePersonalDataInput(PersonInput):
    reason: str = strawberry.field(
        default="", description="Why, for the audit log; name nobody here. Cut at 500 characters."
    )


@strawberry.type(description="What became of exportPersonalData.")
class ExportPersonalDataPayload:
    data: JSON | None = strawberry.field(
        default=None,
        description="`about`, `made_at`, a `note` if something cannot be found, and in `tables` the"
        " rows of each, by its name; null when there are errors.",
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type(description="What became of the rows of one table.")
class ErasedRows:
    table: str = strawberry.field(description="The table.")
    fate: Fate = strawberry.field(description="What became of them.")
    rows: int = strawberry.field(description="How many; 2147483647 stands for that or more.")
    why: str = strawberry.field(description="Why they stay; empty where they do not.")


@strawberry.type(description="What became of erasePersonalData.")
class ErasePersonalDataPayload:
    tables: list[ErasedRows] | None = strawberry.field(
        default=None, description="Tables that had something; null when there are errors."
    )
    complete: bool = strawberry.field(
        default=False,
        description=f"Whether all is done; false when it took more than {SECONDS:g} seconds: ask"
        " again, or use `manage.py erase_data`.",
    )
    note: str = strawberry.field(
        default="", description="What cannot be found, if anything cannot."
    )
    errors: list[UserError] = strawberry.field(description="What is wrong with the input.")


@strawberry.type
class PrivacyMutations:
    @strawberry.mutation(
        description="Hand out all that is on record about an address, a network or a user, up to"
        f" {MOST_ROWS:,} rows. It is noted in the audit log who asked about whom. Needs the"
        f" permission {PERMISSION}, which no role has but superusers."
    )
    def export_personal_data(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ExportPersonalDataInput, strawberry.argument(description="Whose.")
        ],
    ) -> ExportPersonalDataPayload | None:
        require(info, PERMISSION)
        try:
            subject = _subject(input)
        except SubjectError as error:
            return ExportPersonalDataPayload(errors=[_wrong(error)])
        parts = privacy.document(privacy.export(actor(info), subject), subject)
        with within_budget(info, COMMAND):
            # A row is one part, and each table has two more, a separator aside.
            found = list(islice(parts, MOST_ROWS))
            more = next(parts, None)
        if more is not None:
            problem = SubjectError(f"There are more than {MOST_ROWS:,} rows: {COMMAND}.")
            return ExportPersonalDataPayload(errors=[_wrong(problem)])
        return ExportPersonalDataPayload(data=json.loads("".join(found)), errors=[])

    @strawberry.mutation(
        description="Delete what is on record about an address, a network (up to"
        f" /{WIDEST_ERASED[4]}, /{WIDEST_ERASED[6]} of IPv6) or a user, and take them out of what"
        " is kept for another reason; accounts and rules in force stay. It is noted in the audit"
        " log who did so, when and why, not about whom. This cannot be undone. Needs the permission"
        f" {PERMISSION}, which no role has but superusers."
    )
    def erase_personal_data(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            ErasePersonalDataInput, strawberry.argument(description="Whose.")
        ],
    ) -> ErasePersonalDataPayload | None:
        require(info, PERMISSION)
        try:
            subject = _narrow(_subject(input))
        except SubjectError as error:
            return ErasePersonalDataPayload(errors=[_wrong(error)])
        report = privacy.erase(actor(info), subject, input.reason, SECONDS)
        tables = [
            ErasedRows(
                table=line.table,
                fate=Fate(line.fate),
                rows=min(line.rows, LARGEST_INT),
                why=line.why,
            )
            for line in report.lines
            if line.rows
        ]
        return ErasePersonalDataPayload(
            tables=tables, complete=report.complete, note=report.note, errors=[]
        )


def _subject(asked: PersonInput) -> DataSubject:
    """Return whose data are meant. Raises SubjectError."""
    network, name = stated(asked.network), stated(asked.username)
    if (network is None) == (name is None):
        raise SubjectError("Write either a network or a username.")
    return user(name) if name is not None else DataSubject(network=parse_network(network or ""))


def _narrow(subject: DataSubject) -> DataSubject:
    """Return it again. Raises SubjectError for a network that is no person's."""
    network = subject.network
    if network is not None and network.prefixlen < WIDEST_ERASED[network.version]:
        widest = WIDEST_ERASED[network.version]
        raise SubjectError(
            f"{network} is wider than /{widest}: use `manage.py erase_data`, which asks first."
        )
    return subject


def _wrong(error: SubjectError) -> InputError:
    return InputError(code=ErrorCode.INVALID_INPUT, message=str(error), path=["input"])
