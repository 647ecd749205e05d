"""Forget what a limit has counted."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tracking import audit, resets


class Command(BaseCommand):
    help = (
        "Forget what a limit has counted for an address, a user or an account; running processes"
        " follow within a second. The audit log names the command line."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("limit", help="the name of the limit, such as login_account")
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--address", default="", help="what was counted for this address")
        whose.add_argument("--username", default="", help="what was counted for this user")
        parser.add_argument("--reason", default="", help="why, for the audit log")

    def handle(self, *, limit: str, address: str, username: str, reason: str, **_: Any) -> None:
        try:
            done = resets.reset(
                audit.COMMAND_LINE, limit, address=address, username=username, reason=reason
            )
        except resets.CannotResetError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{done.limit}: what was counted for {done.key} is forgotten")
