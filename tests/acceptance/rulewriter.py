"""A process that changes rules as it is told, line by line, for the tests; it answers in JSON.

`block 203.0.113.7`, `lift 203.0.113.7`; `storm 250 203.0.113.7`: so many changes of one rule by
eight threads at once; `audits`: how many changes are on record. The answer comes when it is done.
"""

from __future__ import annotations

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from tracking import blocklist
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.models import AccessRule, AuditEntry
from tracking.proposals import AlreadyBlockedError, NotBlockedError, Proposal


def block(text: str) -> AccessRule:
    proposal = Proposal(target=read_target(text), action=RuleAction.BLOCK)
    return blocklist.block(COMMAND_LINE, proposal)


def lift(text: str) -> AccessRule:
    return blocklist.lift(COMMAND_LINE, read_target(text), RuleAction.BLOCK)


def change(number: int, text: str) -> tuple[int, bool] | None:
    """Return the version and whether it blocks, None when the rule was so already."""
    is_block = random.random() < 0.5
    try:
        return (block(text) if is_block else lift(text)).version, is_block
    except (AlreadyBlockedError, NotBlockedError):
        return None


def storm(number: str, text: str) -> list[tuple[int, bool]]:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda each: change(each, text), range(int(number))))
        list(pool.map(lambda _: connection.close(), range(8)))
    return [one for one in done if one is not None]


def audits() -> int:
    return AuditEntry.objects.filter(action__in=["block", "unblock"]).count()


def main() -> None:
    verbs = {"block": block, "lift": lift, "storm": storm, "audits": audits}
    for line in sys.stdin:
        verb, *arguments = line.split()
        said = verbs[verb](*arguments)  # type: ignore[operator]
        answer = json.dumps(said.version if isinstance(said, AccessRule) else said)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
