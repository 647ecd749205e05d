"""What every benchmark starts from: the service's settings over an empty database of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import django
from django.core.management import call_command


def prepare(**environment: str) -> Path:
    """Set Django up over a temporary folder and create the tables; return the folder."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "STATE_DIR": str(folder),
            "DEBUG": "false",
            "SECRET_KEY": os.urandom(48).hex(),
            "ALLOWED_HOSTS": "localhost",
            "BACKGROUND_THREAD": "false",
        }
        | environment
    )

    django.setup()
    call_command("migrate", verbosity=0)
    return folder
