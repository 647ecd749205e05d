"""Starts the web server and the worker under supervisor, which restarts what dies."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

WEB = ("-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "project.wsgi")
# A stop gives the running task 30 s; idle workers look for work at least twice a second.
WORKER = ("manage.py", "run_huey", "-g", "TERM", "-t", "30", "-m", "0.5")
FIRST_PLACES = ("manage.py", "update_geoip", "--if-older", "7d")

RESTARTED = {"autorestart": "true", "startretries": "1000000"}
# 3 says that no source of places could be reached, which is nothing to warn of.
ONCE = {"autorestart": "false", "startretries": "0", "startsecs": "0", "exitcodes": "0,3"}


def configuration(folder: Path, checkout: Path, *, fetch_places: bool, silent: bool) -> str:
    """Return supervisor's configuration; its own files go into `folder`.

    A `silent` one writes no lines of its own between those of the programs.
    """
    supervisor = {
        "nodaemon": "true",
        "silent": str(silent).lower(),
        "user": str(os.getuid()),
        "logfile": "/dev/null",
        "logfile_maxbytes": "0",
        "pidfile": str(folder / "supervisord.pid"),
    }
    if os.getuid():
        del supervisor["user"]  # says that root is meant; an unnamed account has no entry to find
    parts = [
        section("supervisord", supervisor),
        program("web", WEB, checkout, RESTARTED | {"stopwaitsecs": "15"}),
        program("worker", WORKER, checkout, RESTARTED | {"stopwaitsecs": "35"}),
    ]
    if fetch_places:
        parts.append(program("places", FIRST_PLACES, checkout, ONCE))
    return "\n".join(parts)


def program(name: str, arguments: tuple[str, ...], checkout: Path, options: dict[str, str]) -> str:
    process = {
        "command": shlex.join([sys.executable, *arguments]),
        "directory": str(checkout),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": "/dev/fd/1",
        "stdout_logfile_maxbytes": "0",
    }
    return section(f"program:{name}", process | options)


def section(name: str, options: dict[str, str]) -> str:
    """Return one part of an ini file; supervisor expands %, so a literal one is doubled."""
    lines = [f"{key}={value.replace('%', '%%')}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def run(path: Path) -> NoReturn:
    """Become supervisor with the configuration in `path`; signals reach it directly."""
    sys.stdout.flush()
    relay_unless_reopenable()
    append_only()
    command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(path)]
    os.execv(sys.executable, command)  # noqa: S606


def append_only() -> None:
    """Let nothing overwrite a log file: supervisor and its programs each have a place in it."""
    fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)


def relay_unless_reopenable() -> None:
    """Let standard output be a pipe to `cat` when it cannot be opened again by name.

    Supervisor opens its programs' log, /dev/fd/1, by name. That fails for sockets, which is what
    service managers and some shells give, and for a pipe that another user made.
    """
    try:
        os.close(os.open("/dev/fd/1", os.O_WRONLY | os.O_APPEND))
    except OSError:
        # In a session of its own Ctrl-C does not end it before the last line has passed.
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True)  # noqa: S607
        if cat.stdin is not None:
            os.dup2(cat.stdin.fileno(), 1)
