"""Rules that somebody wants to make, and the reasons why they cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote

from tracking import conf
from tracking.engine.address import IPAddress
from tracking.engine.pseudonym import TRUNCATED, is_pseudonym, truncated
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target
from tracking.models import AccessRule

LONGEST = timedelta(days=3660)


class BlockingError(ValueError):
    """A rule cannot be made, changed or lifted; the message says why, and what to do instead."""


class UnfitError(BlockingError):
    """A value does not fit; `argument` names it."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


class WouldLockOutError(BlockingError):
    """The one who asks would be refused himself, at `address`."""

    def __init__(self, address: IPAddress) -> None:
        super().__init__(f"This would lock out {address}, the address you come from.")
        self.address = address


class ProtectedTargetError(BlockingError):
    """The target holds, or lies in, what may never be blocked."""


class TooWideError(BlockingError):
    """The target is so wide that it takes force, and a superuser."""


class AlreadyBlockedError(BlockingError):
    """`rule` blocks the target already."""

    def __init__(self, rule: AccessRule) -> None:
        until = f"until {rule.expires_at:%Y-%m-%d %H:%M} UTC" if rule.expires_at else "until lifted"
        super().__init__(f"{rule.target} is blocked already, {until}.")
        self.rule = rule


class AlreadyAllowedError(UnfitError):
    """The target is allowed already, in the same way."""

    def __init__(self, target: Target) -> None:
        super().__init__("target", f"{target.text} is allowed already.")


class NotBlockedError(BlockingError):
    """There is no such rule on this target; `rule` is a wider one that covers it, if any."""

    def __init__(self, message: str, rule: AccessRule | None = None) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A rule somebody wants to make; `force` is meant for targets that are very wide."""

    target: Target
    action: RuleAction
    expires_at: datetime | None = None
    reason: str = ""
    origin: AccessRule.Origin = AccessRule.Origin.MANUAL
    observed: bool = False
    path: str = ""
    methods: tuple[str, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        in_order = tuple(sorted({name.upper() for name in self.methods}))
        object.__setattr__(self, "methods", in_order)  # the one spelling of a set of methods


def check_values(proposal: Proposal, now: datetime) -> None:
    """Raises UnfitError for a value that no rule may have."""
    check_expiry(proposal.expires_at, now)
    _check_kept(proposal)
    if proposal.origin == AccessRule.Origin.AUTOMATIC and proposal.expires_at is None:
        raise UnfitError("duration", "What is blocked automatically is blocked for some time.")
    if proposal.path and not (proposal.path.startswith("/") and proposal.path.isprintable()):
        raise UnfitError("path", "Write the beginning of a path, such as /shop/.")
    if unquote(proposal.path) != proposal.path:
        raise UnfitError("path", "Write the path as it reads when it is decoded, without %.")
    if len(proposal.path) > 255:
        raise UnfitError("path", "Write at most 255 characters.")
    if not all(name.isascii() and name.isalpha() and len(name) <= 16 for name in proposal.methods):
        raise UnfitError("methods", "Write names of methods, such as POST.")


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Raises UnfitError for a moment that is past, or too far away to be meant."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise UnfitError("duration", "The rule would be over at once: write a time to come.")
    if expires_at - now > LONGEST:
        raise UnfitError("duration", "Write at most ten years, or none for until it is lifted.")


def _check_kept(proposal: Proposal) -> None:
    """Refuse what the record has instead of an address: a rule on it would match nobody."""
    network = proposal.target.network
    if network is None:
        return
    if is_pseudonym(network):
        raise UnfitError(
            "target",
            f"{proposal.target.text} is a pseudonym: requests never come from it, and nobody can"
            " tell whose it is. Write the true address, or a network.",
        )
    around = truncated(network[0])
    is_copied = network.num_addresses == 1 and network[0] == around.network_address
    is_manual = proposal.origin == AccessRule.Origin.MANUAL  # lists have such addresses, too
    if is_copied and is_manual and conf.current().ip_storage == TRUNCATED:
        raise UnfitError(
            "target",
            f"{network[0]} stands in the record for all of {around} (see TRACKING_IP_STORAGE):"
            " write that network, or the true address.",
        )
