"""What a password may be, beyond Django's own rules."""

from __future__ import annotations

from django.core.exceptions import ValidationError

LONGEST = 1024  # characters: a longer one only costs the hasher time


class MaximumLengthValidator:
    """Refuses passwords that nobody could have meant to type."""

    def validate(self, password: str, user: object = None) -> None:
        if len(password) > LONGEST:
            raise ValidationError(
                f"This password is too long: at most {LONGEST} characters.", "password_too_long"
            )

    def get_help_text(self) -> str:
        return f"Your password may have at most {LONGEST} characters."
