"""`manage.py serve`: set up, then run the web server and the worker until Ctrl-C."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError

from project import supervision
from tracking import conf

ANY_HOST = {"0.0.0.0", "::"}  # noqa: S104 - recognised, not listened on


class Command(BaseCommand):
    help = "Set everything up and serve on HOST:PORT, with the worker, until Ctrl-C."

    def handle(self, *args: object, **options: object) -> None:
        require_free_port(settings.HOST, settings.PORT)
        call_command("setup")
        file = settings.STATE_DIR / "supervisord.conf"
        fetch = not has_places(conf.current().geoip) and "update_geoip" in get_commands()
        for_programs = settings.LOG_FORMAT == "json"
        file.write_text(
            supervision.configuration(
                settings.STATE_DIR, settings.BASE_DIR, fetch_places=fetch, silent=for_programs
            )
        )
        if not for_programs:
            self.stdout.write(welcome())
            self.stdout.flush()
        supervision.run(file)


def require_free_port(host: str, port: int) -> None:
    """Raise CommandError when nothing could listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise CommandError(f"HOST={host} is not an address of this machine.") from None
    except OSError as error:
        raise CommandError(reason(error, host, port)) from None


def reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use: stop what listens there (this service, started"
            f" twice?) or choose another port, for example PORT={port % 65535 + 1}."
        )
    if error.errno == errno.EACCES:
        return f"PORT={port} is for the system administrator only: choose one from 1024 on."
    return f"HOST={host} PORT={port} cannot be listened on: {os.strerror(error.errno or 0)}."


def has_places(path: Path) -> bool:
    return path.is_file() or any(path.glob("*.mmdb"))


def welcome() -> str:
    host = "localhost" if settings.HOST in ANY_HOST else settings.HOST
    root = f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"
    lines = [
        "",
        f"  GraphiQL  {root}/graphql/",
        f"  Admin     {root}/admin/",
        f"  Health    {root}/readyz",
    ]
    if not settings.DEBUG:
        lines.append("  DEBUG is off: signing in needs HTTPS, by a proxy in front.")
    return "\n".join([*lines, "  Ctrl-C stops everything.", ""])
