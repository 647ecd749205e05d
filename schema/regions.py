"""Blocking and allowing countries and autonomous systems."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry.types import Info

from schema.changes import (
    ADD,
    CHANGE,
    BlockInput,
    BlockPayload,
    LiftPayload,
    RuleInput,
    allowed,
    blocked,
    lifted,
)
from schema.errors import ErrorCode, InputError, UserError
from schema.guards import user_error
from schema.permissions import actor, require
from schema.rules import AccessRule
from schema.scalars import CountryCode
from tracking import blocklist
from tracking.engine.rules import RuleAction
from tracking.engine.targets import TargetError, target_of_asn, target_of_country
from tracking.proposals import BlockingError

MOST_COUNTRIES = 300  # more than there are


@strawberry.input(description="Which country is to be refused, for how long and why.")
class BlockCountryInput(BlockInput):
    country: CountryCode = strawberry.field(description="The country.")


@strawberry.type(description="What became of blockCountry.")
class BlockCountryPayload(BlockPayload):
    pass


@strawberry.input(description="Which block is to be lifted.")
class UnblockCountryInput:
    country: CountryCode = strawberry.field(description="The country.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of unblockCountry.")
class UnblockCountryPayload(LiftPayload):
    pass


@strawberry.input(description="Which country is to be let in, for how long and why.")
class AllowCountryInput(RuleInput):
    country: CountryCode = strawberry.field(description="The country.")


@strawberry.type(description="What became of allowCountry.")
class AllowCountryPayload:
    rule: AccessRule | None = strawberry.field(
        default=None, description="The rule; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="Why there is no rule.")


@strawberry.input(description="Which rule that lets in is to be lifted.")
class DisallowCountryInput:
    country: CountryCode = strawberry.field(description="The country.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of disallowCountry.")
class DisallowCountryPayload(LiftPayload):
    pass


@strawberry.input(description="Which countries alone are to be let in.")
class AllowOnlyCountriesInput:
    countries: list[CountryCode] = strawberry.field(
        description="The countries; none at all lets every country in again."
    )
    reason: str = strawberry.field(default="", description="Why, for the rules and the audit log.")


@strawberry.type(description="What became of allowOnlyCountries.")
class AllowOnlyCountriesPayload:
    rules: list[AccessRule] = strawberry.field(
        default_factory=list,
        description="The rules that let these countries in, and last the one that refuses any"
        " other; none where every country is let in again.",
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was changed.")


@strawberry.input(description="Which autonomous system is to be refused, for how long and why.")
class BlockAsnInput(BlockInput):
    asn: int = strawberry.field(description="Its number, such as 64496.")


@strawberry.type(description="What became of blockAsn.")
class BlockAsnPayload(BlockPayload):
    pass


@strawberry.input(description="Which block is to be lifted.")
class UnblockAsnInput:
    asn: int = strawberry.field(description="The number of the autonomous system.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of unblockAsn.")
class UnblockAsnPayload(LiftPayload):
    pass


@strawberry.type
class RegionMutations:
    @strawberry.mutation(
        description="Refuse a country's public addresses, but those that a rule on an address,"
        f" network or autonomous system lets in. Needs the permission {ADD}."
    )
    def block_country(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            BlockCountryInput, strawberry.argument(description="Which country.")
        ],
    ) -> BlockCountryPayload | None:
        target = target_of_country(input.country)
        return blocked(info, input, target, "country", BlockCountryPayload)

    @strawberry.mutation(
        description=f"Lift the blocks on a country. Needs the permission {CHANGE}."
    )
    def unblock_country(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            UnblockCountryInput, strawberry.argument(description="Which country.")
        ],
    ) -> UnblockCountryPayload | None:
        target = target_of_country(input.country)
        done = UnblockCountryPayload
        return lifted(info, target, RuleAction.BLOCK, input.reason, "country", done)

    @strawberry.mutation(
        description="Let a country in where others are refused; rules on its addresses, networks"
        f" and autonomous systems come first. Needs the permission {ADD}."
    )
    def allow_country(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            AllowCountryInput, strawberry.argument(description="Which country.")
        ],
    ) -> AllowCountryPayload | None:
        done = allowed(info, input, target_of_country(input.country), "country")
        if isinstance(done, UserError):
            return AllowCountryPayload(errors=[done])
        return AllowCountryPayload(rule=AccessRule.of(done.rule), errors=[])

    @strawberry.mutation(
        description=f"Lift the rules that let a country in. Needs the permission {CHANGE}."
    )
    def disallow_country(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            DisallowCountryInput, strawberry.argument(description="Which country.")
        ],
    ) -> DisallowCountryPayload | None:
        target = target_of_country(input.country)
        done = DisallowCountryPayload
        return lifted(info, target, RuleAction.ALLOW, input.reason, "country", done)

    @strawberry.mutation(
        description="Let these countries in and refuse every other, all in one step; without any"
        " country, let every country in again. An address of unknown country is refused only where"
        f" TRACKING_UNKNOWN_COUNTRY says so. Needs the permissions {ADD} and {CHANGE}."
    )
    def allow_only_countries(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            AllowOnlyCountriesInput, strawberry.argument(description="Which countries.")
        ],
    ) -> AllowOnlyCountriesPayload | None:
        require(info, ADD)
        require(info, CHANGE)
        path = ["input", "countries"]
        if len(input.countries) > MOST_COUNTRIES:
            message = f"At most {MOST_COUNTRIES}, not {len(input.countries)}."
            wrong = InputError(code=ErrorCode.INVALID_INPUT, message=message, path=path)
            return AllowOnlyCountriesPayload(errors=[wrong])
        targets = [target_of_country(code) for code in dict.fromkeys(input.countries)]
        try:
            rows = blocklist.allow_only(actor(info), targets, input.reason)
        except BlockingError as error:
            return AllowOnlyCountriesPayload(errors=[user_error(info, error, path)])
        return AllowOnlyCountriesPayload(rules=[AccessRule.of(row) for row in rows], errors=[])

    @strawberry.mutation(
        description="Refuse the public addresses of an autonomous system, but those that a rule on"
        f" an address or network lets in. Needs the permission {ADD}."
    )
    def block_asn(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            BlockAsnInput, strawberry.argument(description="Which autonomous system.")
        ],
    ) -> BlockAsnPayload | None:
        require(info, ADD)
        try:
            target = target_of_asn(input.asn)
        except TargetError as error:
            return BlockAsnPayload(errors=[_no_asn(error)])
        return blocked(info, input, target, "asn", BlockAsnPayload)

    @strawberry.mutation(
        description=f"Lift the blocks on an autonomous system. Needs the permission {CHANGE}."
    )
    def unblock_asn(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            UnblockAsnInput, strawberry.argument(description="Which autonomous system.")
        ],
    ) -> UnblockAsnPayload | None:
        require(info, CHANGE)
        try:
            target = target_of_asn(input.asn)
        except TargetError as error:
            return UnblockAsnPayload(errors=[_no_asn(error)])
        return lifted(info, target, RuleAction.BLOCK, input.reason, "asn", UnblockAsnPayload)


def _no_asn(error: TargetError) -> InputError:
    return InputError(code=ErrorCode.INVALID_INPUT, message=f"{error}.", path=["input", "asn"])
