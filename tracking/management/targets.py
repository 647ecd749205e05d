"""Targets on the command line: make or end a rule for each, and tell what became of it."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import audit, blocklist
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import FOREVER, read_duration, read_target
from tracking.engine.targets import RuleKind, Target
from tracking.models import AccessRule
from tracking.proposals import BlockingError, Proposal


def add_targets(parser: ArgumentParser, number: str) -> None:
    parser.add_argument("targets", nargs=number, metavar="TARGET")
    kind = parser.add_mutually_exclusive_group()
    for name, value, meant in (
        ("--country", RuleKind.COUNTRY, "countries"),
        ("--asn", RuleKind.ASN, "numbers of autonomous systems"),
    ):
        kind.add_argument(
            name, dest="kind", action="store_const", const=value, help=f"targets are {meant}"
        )
    parser.add_argument("--reason", default="", help="why, for colleagues and the audit log")


def add_arguments(parser: ArgumentParser) -> None:
    add_targets(parser, "+")
    add_duration(parser)
    parser.add_argument(
        "--observe", action="store_true", help="refuse nothing, only put on record what would be"
    )
    parser.add_argument("--path", default="", help="only requests whose path begins so")
    parser.add_argument(
        "--method", action="append", default=[], help="only this method; may be given several times"
    )
    parser.add_argument(
        "--force", action="store_true", help="even wider than /8, or /32 of IPv6, or every country"
    )


def add_duration(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--for",
        dest="duration",
        type=_duration,
        metavar="4h",
        help="15m, 4h, 7d; else until lifted",
    )


def until(duration: timedelta | None) -> datetime | None:
    """Return the moment a rule made now ends. Raises CommandError."""
    try:
        return None if duration is None else timezone.now() + duration
    except OverflowError:
        raise CommandError("Write a shorter time, or none for until it is lifted.") from None


def make(command: BaseCommand, action: RuleAction, options: dict[str, Any]) -> None:
    """Make a rule for each target, and tell what became of it. Raises CommandError."""
    expires_at = until(options["duration"])

    def made(target: Target) -> AccessRule:
        proposal = Proposal(
            target=target,
            action=action,
            expires_at=expires_at,
            reason=options["reason"],
            observed=options["observe"],
            path=options["path"],
            methods=tuple(options["method"]),
            force=options["force"],
        )
        if action is RuleAction.BLOCK:
            return blocklist.block(audit.COMMAND_LINE, proposal)
        allowance = blocklist.allow(audit.COMMAND_LINE, proposal)
        for row in allowance.shadowing:
            command.stderr.write(
                f"{row.target} inside it stays blocked: {row.reason or 'no reason'}"
            )
        return allowance.rule

    word = "blocked" if action is RuleAction.BLOCK else "allowed"
    _each(command, options, made, f"would be {word}" if options["observe"] else word)


def end(command: BaseCommand, action: RuleAction, options: dict[str, Any]) -> None:
    """End the rules of this action on each target. Raises CommandError."""

    def ended(target: Target) -> AccessRule:
        return blocklist.lift(audit.COMMAND_LINE, target, action, options["reason"])

    word = "unblocked" if action is RuleAction.BLOCK else "no longer allowed"
    _each(command, options, ended, word)


def _each(
    command: BaseCommand, options: dict[str, Any], verb: Callable[[Target], AccessRule], word: str
) -> None:
    failed = 0
    for text in options["targets"]:
        try:
            row = verb(read_target(text, options["kind"]))
        except (ValueError, BlockingError) as error:
            failed += 1
            command.stderr.write(str(error))
        else:
            command.stdout.write(f"{row.target} {word}{_how_long(row)}")
    if failed:
        raise CommandError(f"{failed} of {len(options['targets'])} left as they were.")


def _how_long(row: AccessRule) -> str:
    if row.ended_at is not None:
        return ""
    return f" until {row.expires_at:%Y-%m-%d %H:%M:%S} UTC" if row.expires_at else f" {FOREVER}"


def _duration(text: str) -> timedelta | None:
    try:
        return read_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
