"""What every benchmark starts from: the service's settings over an empty database of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django
from django.core.management import call_command

STARTPROJECT = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def prepare(**environment: str) -> Path:
    """Set Django up over a temporary folder, which goes with the process, and create the tables."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "STATE_DIR": str(folder),
            "DEBUG": "false",
            "SECRET_KEY": os.urandom(48).hex(),
            "JWT_SIGNING_KEYS": f"benchmark:{os.urandom(48).hex()}",
            "ALLOWED_HOSTS": "localhost",
            "BACKGROUND_THREAD": "false",
            "CACHE_TTL_STATISTICS": "0",
        }
        | environment
    )

    django.setup()
    call_command("migrate", verbosity=0)
    return folder
