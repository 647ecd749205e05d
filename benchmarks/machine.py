"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("django", "strawberry-graphql", "strawberry-graphql-django", "gunicorn", "psycopg")


def facts() -> dict[str, str]:
    """Return the machine's parts and programs, each with what it is."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return {
        "Processor": f"{processor()}, {os.cpu_count()} cores",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": f"{system}, Linux {platform.release()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": program("postgres"),
        "Redis": program("redis-server"),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def program(name: str) -> str:
    """Return the version of the program on PATH."""
    if shutil.which(name) is None:
        return "the one that the tests install"
    ran = subprocess.run([name, "--version"], capture_output=True, text=True, check=True)
    words = ran.stdout.replace("v=", " ").split()
    return next(word for word in words if word[0].isdigit())


def load() -> float:
    """Return how many processes wanted a core at once, in the last minute."""
    return round(os.getloadavg()[0], 1)
