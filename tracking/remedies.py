"""What would let in a request that is refused, in words to copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracking.engine.address import IPAddress
from tracking.engine.targets import ANY_COUNTRY, RuleKind
from tracking.engine.verdict import Verdict
from tracking.engine.visit import Visit
from tracking.models import AccessRule

LARGEST_INT = 2**31 - 1  # of GraphQL's Int: mutations take no larger number


def against_rules(blocks: Sequence[AccessRule], visit: Visit) -> Iterator[str]:
    """Yield what would let in a visit that these rules refuse, each of them when it comes to it."""
    targets: dict[str, AccessRule] = {}
    for row in blocks:
        targets.setdefault(row.target, row)  # all rules on one target are lifted together
    if len(targets) > 1:
        yield f"{len(targets)} targets of it are blocked: lift the blocks on all of them."
    for row in targets.values():
        yield f"Lift rule {row.pk} ({row}): {_lifting(row)}manage.py unblock {_word(row)}"
    ends = [row.expires_at for row in blocks if row.expires_at is not None]
    if len(ends) == len(blocks):
        yield f"Wait: it is over by itself at {max(ends):%Y-%m-%d %H:%M:%S} UTC."
    address, country = visit.address, visit.place.country
    if blocks[0].target == ANY_COUNTRY and country is not None:
        yield (
            f'Let in the country: allowCountry(input: {{country: "{country}"}}),'
            f" or manage.py allow {country}"
        )
    if not any(row.kind == RuleKind.ADDRESS and (row.path or row.methods) for row in blocks):
        yield (
            f'Let in this address alone: allowIp(input: {{address: "{address}"}}),'
            f" or manage.py allow {address}"
        )


def against_limit(verdict: Verdict, address: IPAddress) -> Iterator[str]:
    """Yield what would let in a visit from an address that a limit refuses."""
    name = verdict.limit
    yield f"Wait {verdict.retry_after} s."
    yield (
        f'Reset it: resetRateLimit(input: {{limit: "{name}", address: "{address}"}}),'
        f" or manage.py reset_rate_limit {name} --address {address}"
    )


def _lifting(row: AccessRule) -> str:
    """Return the mutation that lifts a block, if there is one."""
    if row.target == ANY_COUNTRY and (row.path or row.methods):
        return ""
    if row.target == ANY_COUNTRY:
        return "allowOnlyCountries(input: {countries: []}), or "
    match row.kind:
        case RuleKind.COUNTRY:
            return f'unblockCountry(input: {{country: "{row.target}"}}), or '
        case RuleKind.ASN:
            number = int(row.target.removeprefix("AS"))
            return f"unblockAsn(input: {{asn: {number}}}), or " if number <= LARGEST_INT else ""
        case _:
            return f'unblockIp(input: {{address: "{row.target}"}}), or '


def _word(row: AccessRule) -> str:
    """Return the target as a shell reads it."""
    return "'*'" if row.target == ANY_COUNTRY else row.target
