"""`manage.py rotate_signing_key`: access tokens are signed with a new key from now on."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tracking import audit
from users import keys

ELSEWHERE = """\
The keys come from JWT_SIGNING_KEYS, so this command cannot change them. A new one is

    {key}

On several nodes append it to the present ones on each, and restart it. Then, on each:

    JWT_SIGNING_KEYS={key},{present}

The first key signs, the others only verify. After {minutes} minutes take them away.
"""


class Command(BaseCommand):
    help = "Sign access tokens with a new key; what the old ones signed is good for an hour more."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--forget-old",
            action="store_true",
            help="somebody else has the old keys: refuse at once what they signed",
        )

    def handle(self, *args: object, forget_old: bool = False, **options: Any) -> None:
        if settings.JWT_SIGNING_KEYS:
            self.stdout.write(elsewhere(forget_old))
            return
        try:
            new = keys.rotate_file(settings.JWT_KEYS_FILE, keep_old=not forget_old)
        except (OSError, ValueError) as error:
            raise CommandError(
                f"{settings.JWT_KEYS_FILE} cannot be used ({error}): delete it and start the"
                " service again, which makes a new one."
            ) from None
        old = "are refused from now on" if forget_old else f"verify for {keys.GRACE_SECONDS} s more"
        audit.record(
            audit.COMMAND_LINE, "signing_key_rotated", f"key {new.kid}", after={"old keys": old}
        )
        self.stdout.write(f"Key {new.kid} signs from now on; the old keys {old}.")


def elsewhere(forget_old: bool) -> str:
    """Return what to set where the keys do not come from a file."""
    new = keys.new_key()
    key = f"{new.kid}:{new.secret}"
    if forget_old:
        return f"Set this on every node, and restart it:\n\n    JWT_SIGNING_KEYS={key}\n"
    present = ",".join(f"{each.kid}:..." for each in keys.signing_keys())
    minutes = -(-int(settings.JWT_ACCESS_TTL.total_seconds()) // 60) + 1
    return ELSEWHERE.format(key=key, present=present, minutes=minutes)
