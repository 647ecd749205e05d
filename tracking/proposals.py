"""Rules that somebody wants to make, and the reasons why they cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tracking.engine.address import IPAddress
from tracking.engine.rules import RuleAction, Target
from tracking.models import AccessRule


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
