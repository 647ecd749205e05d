"""`manage.py doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from project import doctor
from project.doctor.configuration import in_force
from project.doctor.findings import Finding, Level


class Command(BaseCommand):
    help = "Show the settings in force, look at everything the service needs, and say what to do."
    requires_system_checks = []  # they would end it; it makes them itself

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object")

    def handle(self, *args: object, json: bool = False, **options: Any) -> None:
        logging.disable(logging.CRITICAL)  # what is tried here fails in its finding, not in the log
        try:
            found = list(doctor.examine())
        finally:
            logging.disable(logging.NOTSET)
        if json:
            self.stdout.write(as_json(found))
        else:
            self.stdout.write(as_text(found))
        if any(finding.level is Level.ERROR for _, finding in found):
            sys.exit(1)


def as_json(found: list[tuple[str, Finding]]) -> str:
    findings = [
        {
            "section": section,
            "level": finding.level,
            "message": finding.message,
            "remedy": finding.remedy,
        }
        for section, finding in found
    ]
    ok = not any(finding.level is Level.ERROR for _, finding in found)
    return json.dumps({"ok": ok, "settings": in_force(), "findings": findings}, indent=2)


def as_text(found: list[tuple[str, Finding]]) -> str:
    lines = ["Settings in force", *(f"  {name}={value}" for name, value in in_force().items()), ""]
    for section, finding in found:
        lines.append(f"{finding.level:8}{section}: {finding.message}")
        if finding.remedy:
            lines.append(f"{'':8}-> {finding.remedy}")
    levels = Counter(finding.level for _, finding in found)
    lines += ["", ", ".join(f"{levels[level]} {level}" for level in Level)]
    return "\n".join(lines)
