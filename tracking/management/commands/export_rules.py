"""Write the rules in force for other programs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from tracking import rulefiles
from tracking.engine.firewalls import WRITERS
from tracking.engine.rules import RuleAction
from tracking.guards import is_plain
from tracking.models import AccessRule


class Command(BaseCommand):
    help = (
        "Write the rules in force to standard output. csv and json hold all of them and can be"
        " imported; plain holds targets; nginx, nftables and ipset hold addresses and networks."
        " What a format cannot hold is left out and counted on standard error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=rulefiles.WRITABLE, default="plain", dest="to")
        parser.add_argument(
            "--action",
            choices=[action.value for action in RuleAction],
            help="only these; else plain, nftables and ipset hold what is blocked, others all",
        )

    def handle(self, *, to: str, action: str | None, **_: Any) -> None:
        rules = AccessRule.objects.live(timezone.now()).order_by("action", "pk")
        wanted = None if action is None else RuleAction(action)
        if to == "plain":
            wanted = wanted or RuleAction.BLOCK
        if wanted is not None and to not in WRITERS:
            rules = rules.filter(action=wanted)
        try:
            for part in rulefiles.write(to, rules.iterator(2000), wanted):
                self.stdout.write(part, ending="")
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if to not in {"csv", "json"}:
            self._tell_left_out(rules.iterator(2000), to)

    def _tell_left_out(self, rules: Any, to: str) -> None:
        left_out = sum(
            1 for rule in rules if not is_plain(rule) or (to in WRITERS and rule.prefix is None)
        )
        if left_out:
            self.stderr.write(
                f"Left out, since {to} cannot hold them: {left_out} (observed rules, those about"
                " some paths or methods, and in firewalls those about places)."
            )
