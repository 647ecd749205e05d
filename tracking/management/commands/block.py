"""Refuse addresses, networks, countries or autonomous systems."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tracking.engine.rules import RuleAction
from tracking.management.targets import add_arguments, make


class Command(BaseCommand):
    help = (
        "Refuse addresses, networks, countries (DE, or * for all) or autonomous systems (AS64496);"
        " every process follows within a second. Each target stands for itself: what cannot be"
        " blocked is told, the rest is blocked, and the exit code is then 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    def handle(self, **options: Any) -> None:
        make(self, RuleAction.BLOCK, options)
