"""Let in what a wider rule refuses, and keep it from being blocked."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tracking.engine.rules import RuleAction
from tracking.management.targets import add_arguments, end, make


class Command(BaseCommand):
    help = (
        "Let in addresses, networks, countries or autonomous systems that a wider rule refuses, and"
        " keep them from being blocked; automatic blocks inside them end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)
        parser.add_argument("--remove", action="store_true", help="no longer let them in")

    def handle(self, *, remove: bool, **options: Any) -> None:
        if remove:
            end(self, RuleAction.ALLOW, options)
        else:
            make(self, RuleAction.ALLOW, options)
