"""`manage.py setup`: database, static files, first administrator. Repeating it changes nothing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from users.models import User, canonical_username


class Command(BaseCommand):
    help = "Prepare the database, the static files and the first administrator."

    def handle(self, *args: object, **options: object) -> None:
        try:
            call_command("migrate", interactive=False, verbosity=0)
            if not settings.DEBUG:  # with DEBUG they are served from where they lie
                collect()
            self.make_administrator(**settings.SUPERUSER)
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({str(error).strip()}): check DATABASE_URL and that"
                " the database runs."
            ) from error

    def make_administrator(self, username: str, password: str, email: str) -> None:
        """Make the first superuser; an account that exists is never changed."""
        given = settings.STATE_DIR / "initial-password"
        if User.objects.filter(is_superuser=True).exists():
            if given.exists():
                self.stdout.write(f"The first password is in {given}; delete it once changed.")
            return
        if User.objects.filter(canonical=canonical_username(username)).exists():
            self.stderr.write(
                f"The account {username} exists and is no administrator, so it stays as it is: name"
                " another in DJANGO_SUPERUSER_USERNAME, or run manage.py createsuperuser."
            )
            return
        require_valid(username, email)
        if not password:
            password = secrets.token_urlsafe(15)
            self.hand_over(username, password, given)
        User.objects.create_superuser(username, email, password)

    def hand_over(self, username: str, password: str, file: Path) -> None:
        """Tell the new password, in a log to nobody: logs are kept and copied."""
        if self.stdout.isatty():
            self.stdout.write(f"The administrator is {username}, the password {password}")
            self.stdout.write("It is shown this once: write it down.")
            return
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as opened:
            opened.write(f"{password}\n")
        self.stdout.write(f"The administrator is {username}, the password is in {file}")


def collect() -> None:
    """Collect the static files; they are public, and a proxy may serve them as another user."""
    before = os.umask(0o022)
    try:
        call_command("collectstatic", interactive=False, verbosity=0)
    finally:
        os.umask(before)


def require_valid(username: str, email: str) -> None:
    try:
        User(username=username, email=email).full_clean(exclude=["password"])
    except ValidationError as error:
        raise CommandError(
            f"DJANGO_SUPERUSER_USERNAME or _EMAIL cannot be used: {' '.join(error.messages)}"
        ) from None
