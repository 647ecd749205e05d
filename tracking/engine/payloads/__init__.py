"""What injected text looks like, whichever field carries it: one table for each kind.

A payload is looked for in decoded, lower-case text, in which white space is one space: first a
literal by a plain search, then an expression. Expressions take linear time: every repetition has
an end, and none stands inside another that may match the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from tracking.engine.payloads.code import CODE
from tracking.engine.payloads.commands import COMMANDS
from tracking.engine.payloads.databases import DATABASES
from tracking.engine.payloads.files import FILES
from tracking.engine.payloads.protocols import PROTOCOLS
from tracking.engine.payloads.scripts import SCRIPTS
from tracking.engine.payloads.templates import TEMPLATES

PAYLOADS = (*FILES, *DATABASES, *COMMANDS, *CODE, *TEMPLATES, *SCRIPTS, *PROTOCOLS)

Search: TypeAlias = Callable[[str], re.Match[str] | None]
Check: TypeAlias = tuple[str, str, Search]

# Each literal with the name of its family and the search it leads to.
CHECKS: tuple[Check, ...] = tuple(
    (literal, payload.family.name, search)
    for payload in PAYLOADS
    for search in [re.compile(payload.expression, re.DOTALL).search]
    for literal in payload.literals
)
