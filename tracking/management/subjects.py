"""Whose data a command is about, as one types it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from tracking.datasubject import DataSubject, SubjectError, user
from tracking.engine.address import AddressError, parse_network


def add_arguments(parser: ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument(
        "--address", metavar="A", help="an address, or a network such as 192.0.2.0/24"
    )
    whose.add_argument("--user", metavar="U", help="a user's name")


def subject(options: dict[str, Any]) -> DataSubject:
    """Return whose data are meant. Raises CommandError."""
    try:
        if options["address"] is not None:
            return DataSubject(network=parse_network(options["address"]))
        return user(options["user"])
    except (AddressError, SubjectError) as error:
        raise CommandError(f"{str(error).rstrip('.')}.") from None
