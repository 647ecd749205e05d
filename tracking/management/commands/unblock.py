"""Let somebody in again, or everybody."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tracking import audit, blocklist
from tracking.engine.rules import RuleAction
from tracking.management.targets import add_targets, end


class Command(BaseCommand):
    help = (
        "End the rules that block these targets; every process follows within a second. With --all"
        " end every block there is: the way back in for who has locked himself out. That needs the"
        " database and nothing else."
    )
    # A wrong setting must not keep anybody from getting back in.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_targets(parser, "*")
        parser.add_argument("--all", action="store_true", dest="everything", help="end every block")

    def handle(self, *, everything: bool, **options: Any) -> None:
        if everything == bool(options["targets"]):
            raise CommandError("Write either targets or --all.", returncode=2)
        if everything:
            number = blocklist.lift_all(audit.COMMAND_LINE, options["reason"])
            self.stdout.write(f"{number} {'block' if number == 1 else 'blocks'} ended")
        else:
            end(self, RuleAction.BLOCK, options)
