#!/usr/bin/env python3
"""Django's command line for this service."""

import os
import sys

try:
    from django.core.management import execute_from_command_line
except ImportError:
    sys.exit(
        "Django is not installed here: run `make run` once, or pip install -r requirements.txt"
    )

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    execute_from_command_line(sys.argv)
