"""A small Django project for a web server: as `startproject` makes it, or with `tracking` in it.

    SERVED_DIR=... [SERVED_PROTECTED=true] [DATABASE_URL=...] [REDIS_URL=...] \\
        gunicorn benchmarks.served:application
    ... python -m benchmarks.served 100000

The second makes the tables, and that many rules that block addresses which never ask.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from benchmarks.environment import STARTPROJECT

FOLDER = Path(os.environ["SERVED_DIR"])
PROTECTED = "SERVED_PROTECTED" in os.environ
FIRST_BLOCKED = ipaddress.IPv4Address("198.18.0.0")


def article(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("articles/<int:number>/", article)]


def database() -> dict[str, Any]:
    if url := os.environ.get("DATABASE_URL"):
        return dict(dj_database_url.parse(url, conn_max_age=None))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
        },
    }


def protection() -> dict[str, Any]:
    """Return what docs/embed.md adds to a project, with a limit that nobody reaches."""
    return {
        "MIDDLEWARE": [
            "tracking.middleware.VisitMiddleware",
            *STARTPROJECT,
            "tracking.middleware.LimitMiddleware",
        ],
        "TRACKING_STATE_DIR": FOLDER / "tracking",
        "TRACKING_TRUSTED_PROXIES": ["127.0.0.1"],
        "TRACKING_LIMITS": {"graphql": {"all": "100000000/d", "paths": ["/articles/"]}},
        "TRACKING_REDIS_URL": os.environ.get("REDIS_URL", ""),
    }


settings.configure(
    SECRET_KEY=os.urandom(48).hex(),
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    LOGGING={"version": 1, "loggers": {"tracking": {"level": "ERROR"}}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        *(["tracking"] if PROTECTED else []),
    ],
    DATABASES={"default": database()},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    **(protection() if PROTECTED else {"MIDDLEWARE": STARTPROJECT}),
)
django.setup()


def main(rules: int) -> None:
    from tracking.models import RULES_VERSION, AccessRule, Counter  # noqa: PLC0415 - only where it is installed

    call_command("migrate", verbosity=0)
    addresses = [str(FIRST_BLOCKED + number) for number in range(rules)]
    AccessRule.objects.bulk_create(
        (
            AccessRule(
                kind="ADDRESS", target=address, first=address, prefix=32, action="BLOCK",
                created_by="benchmark", created_at=timezone.now(), version=1,
            )
            for address in addresses
        ),
        batch_size=1000,
    )  # fmt: skip
    Counter.objects.update_or_create(name=RULES_VERSION, defaults={"value": 1})


if __name__ == "__main__":
    main(int(sys.argv[1]))
else:
    application = get_wsgi_application()
