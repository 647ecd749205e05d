"""Blocking and allowing addresses and networks, one at a time or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Annotated

import strawberry
from strawberry.types import Info

from schema.changes import (
    ADD,
    CHANGE,
    BlockInput,
    BlockPayload,
    LiftPayload,
    RefusalInput,
    RuleInput,
    allowed,
    blocked,
    lifted,
    proposed,
)
from schema.errors import ErrorCode, InputError, UserError
from schema.guards import user_error
from schema.permissions import actor, require
from schema.rules import AccessRule
from schema.scalars import IPNetwork
from tracking import blocklist
from tracking.engine.address import AddressError, parse_network, shown
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target, target_of_network
from tracking.proposals import BlockingError, Proposal

MOST = blocklist.MOST_AT_ONCE
Outcome = tuple[blocklist.Outcome, Proposal | None]  # what became of a target, and of what rule


@strawberry.input(description="Which addresses are to be refused, for how long and why.")
class BlockIpInput(BlockInput):
    address: IPNetwork = strawberry.field(description="The address or network.")


@strawberry.type(description="What became of blockIp.")
class BlockIpPayload(BlockPayload):
    pass


@strawberry.input(description="Which block is to be lifted.")
class UnblockIpInput:
    address: IPNetwork = strawberry.field(description="The address or network, exactly.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of unblockIp.")
class UnblockIpPayload(LiftPayload):
    pass


@strawberry.input(description="Which addresses are to be let in, for how long and why.")
class AllowIpInput(RuleInput):
    address: IPNetwork = strawberry.field(description="The address or network.")


@strawberry.type(description="What became of allowIp.")
class AllowIpPayload:
    rule: AccessRule | None = strawberry.field(
        default=None, description="The rule; null when there are errors."
    )
    lifted: list[AccessRule] = strawberry.field(
        default_factory=list, description="The automatic blocks inside the target: they are lifted."
    )
    shadowed_by: list[AccessRule] = strawberry.field(
        default_factory=list,
        description=f"Other blocks inside the target, at most {MOST}, that go on refusing because"
        " they are more specific: lift them where that is not wanted.",
    )
    errors: list[UserError] = strawberry.field(description="Why there is no rule.")


@strawberry.input(description="Which rule that lets in is to be lifted.")
class DisallowIpInput:
    address: IPNetwork = strawberry.field(description="The address or network, exactly.")
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of disallowIp.")
class DisallowIpPayload(LiftPayload):
    pass


@strawberry.input(description="Which addresses are to be refused, all for as long and as one does.")
class BlockIpsInput(RefusalInput):
    addresses: list[str] = strawberry.field(
        description=f"The addresses and networks, at most {MOST}, each written as for IPNetwork."
    )


@strawberry.input(description="Which blocks are to be lifted.")
class UnblockIpsInput:
    addresses: list[str] = strawberry.field(
        description=f"The addresses and networks, exactly; at most {MOST}, each as for IPNetwork."
    )
    reason: str = strawberry.field(default="", description="Why, for the audit log.")


@strawberry.type(description="What became of one of many.")
class IpResult:
    address: str = strawberry.field(
        description="The address or network in its one spelling; one that cannot be read, as given,"
        " cut and escaped."
    )
    rule: AccessRule | None = strawberry.field(
        default=None, description="The rule that was made or lifted; null when there are errors."
    )
    errors: list[UserError] = strawberry.field(description="Why not.")


@strawberry.type
class IpsPayload:
    results: list[IpResult] = strawberry.field(
        default_factory=list, description="One result for each of the input, in its order."
    )
    errors: list[UserError] = strawberry.field(
        description="What is wrong with the input as a whole; then nothing was changed."
    )


@strawberry.type(description="What became of blockIps.")
class BlockIpsPayload(IpsPayload):
    pass


@strawberry.type(description="What became of unblockIps.")
class UnblockIpsPayload(IpsPayload):
    pass


@strawberry.type
class BlockingMutations:
    @strawberry.mutation(
        description="Refuse an address or network: at once here, within a second in every other"
        f" process. Needs the permission {ADD}."
    )
    def block_ip(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            BlockIpInput, strawberry.argument(description="Whom to refuse.")
        ],
    ) -> BlockIpPayload | None:
        target = target_of_network(parse_network(input.address))
        return blocked(info, input, target, "address", BlockIpPayload)

    @strawberry.mutation(
        description="Lift the blocks on exactly this address or network, as fast as they were made;"
        f" a wider one is named and stays. Needs the permission {CHANGE}."
    )
    def unblock_ip(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            UnblockIpInput, strawberry.argument(description="Which block.")
        ],
    ) -> UnblockIpPayload | None:
        target = target_of_network(parse_network(input.address))
        return lifted(info, target, RuleAction.BLOCK, input.reason, "address", UnblockIpPayload)

    @strawberry.mutation(
        description="Let an address or network in, whatever wider rules and rules on countries and"
        " autonomous systems say. Automatic blocks inside it are lifted, others named. Needs the"
        f" permission {ADD}."
    )
    def allow_ip(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            AllowIpInput, strawberry.argument(description="Whom to let in.")
        ],
    ) -> AllowIpPayload | None:
        target = target_of_network(parse_network(input.address))
        done = allowed(info, input, target, "address")
        if isinstance(done, UserError):
            return AllowIpPayload(errors=[done])
        return AllowIpPayload(
            rule=AccessRule.of(done.rule),
            lifted=[AccessRule.of(row) for row in done.lifted],
            shadowed_by=[AccessRule.of(row) for row in done.shadowing],
            errors=[],
        )

    @strawberry.mutation(
        description="Lift the rules that let in exactly this address or network. Needs the"
        f" permission {CHANGE}."
    )
    def disallow_ip(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            DisallowIpInput, strawberry.argument(description="Which rule.")
        ],
    ) -> DisallowIpPayload | None:
        target = target_of_network(parse_network(input.address))
        return lifted(info, target, RuleAction.ALLOW, input.reason, "address", DisallowIpPayload)

    @strawberry.mutation(
        description=f"Refuse up to {MOST} addresses and networks, each for itself: what is wrong"
        f" with one keeps none of the others. Needs the permission {ADD}."
    )
    def block_ips(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            BlockIpsInput, strawberry.argument(description="Whom to refuse.")
        ],
    ) -> BlockIpsPayload | None:
        require(info, ADD)
        if wrong := _too_many(input.addresses):
            return BlockIpsPayload(errors=[wrong])

        def block(targets: Sequence[Target]) -> Iterator[Outcome]:
            one = proposed(input, targets[0], RuleAction.BLOCK)
            # All end at one moment, so that an address is known to lie in a network of the list.
            proposals = [replace(one, target=target) for target in targets]
            made = blocklist.block_many(actor(info), proposals)
            return zip(made, proposals, strict=True)

        return BlockIpsPayload(results=_each(info, input.addresses, block), errors=[])

    @strawberry.mutation(
        description=f"Lift the blocks on up to {MOST} addresses and networks, each for itself and"
        f" exactly. Needs the permission {CHANGE}."
    )
    def unblock_ips(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's word
            UnblockIpsInput, strawberry.argument(description="Which blocks.")
        ],
    ) -> UnblockIpsPayload | None:
        require(info, CHANGE)
        if wrong := _too_many(input.addresses):
            return UnblockIpsPayload(errors=[wrong])

        def lift(targets: Sequence[Target]) -> Iterator[Outcome]:
            over = blocklist.lift_many(actor(info), targets, RuleAction.BLOCK, input.reason)
            return zip(over, repeat(None))

        return UnblockIpsPayload(results=_each(info, input.addresses, lift), errors=[])


def _too_many(addresses: Sequence[str]) -> InputError | None:
    if len(addresses) <= MOST:
        return None
    return InputError(
        code=ErrorCode.INVALID_INPUT,
        message=f"At most {MOST} at once, not {len(addresses)}: send the rest in further requests.",
        path=["input", "addresses"],
    )


def _each(
    info: Info,
    addresses: Sequence[str],
    change: Callable[[Sequence[Target]], Iterator[Outcome]],
) -> list[IpResult]:
    """Make a change to those addresses that can be read; return what became of each."""
    read = [_read(text) for text in addresses]
    targets = [found for found in read if isinstance(found, Target)]
    outcomes = change(targets) if targets else iter(())
    results = []
    for number, found in enumerate(read):
        path = ["input", "addresses", str(number)]
        if isinstance(found, Target):
            results.append(_result(info, found, next(outcomes), path))
        else:
            wrong = InputError(code=ErrorCode.INVALID_INPUT, message=f"{found}.", path=path)
            results.append(IpResult(address=shown(addresses[number]), errors=[wrong]))
    return results


def _read(text: str) -> Target | AddressError:
    try:
        return target_of_network(parse_network(text))
    except AddressError as error:
        return error


def _result(info: Info, target: Target, outcome: Outcome, path: list[str]) -> IpResult:
    done, proposal = outcome
    if isinstance(done, BlockingError):
        return IpResult(address=target.text, errors=[user_error(info, done, path, proposal)])
    return IpResult(address=target.text, rule=AccessRule.of(done), errors=[])
