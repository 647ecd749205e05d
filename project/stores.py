"""Where the service keeps its rows and its queue, read from DATABASE_URL and HUEY_URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from huey.serializer import SignedSerializer

from project.environment import BASE_DIR, refuse


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for DATABASE_URL: SQLite or PostgreSQL."""
    try:
        found: dict[str, Any] = dict(
            dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
        )
    except ValueError:
        found = {"ENGINE": ""}
    options = found.setdefault("OPTIONS", {})
    if found["ENGINE"] == "django.db.backends.sqlite3":
        if found["NAME"] != ":memory:":
            found["NAME"] = str(BASE_DIR / found["NAME"])
            # In memory, tests would not meet the locks that several processes meet.
            found["TEST"] = {"NAME": f"{found['NAME']}.test"}
        options |= {
            "timeout": 30,  # seconds a writer waits for another one
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    elif found["ENGINE"] == "django.db.backends.postgresql":
        options.setdefault("connect_timeout", 5)
        if "pool" in options:
            options["pool"] = pool(options["pool"])
            found["CONN_MAX_AGE"] = 0  # the pool keeps connections, not each thread
    else:
        refuse(
            "DATABASE_URL is not of the form postgres://user:password@host/name or"
            " sqlite:////path: use PostgreSQL, or SQLite for a small site (no other database)."
        )
    return found


def huey_storage(url: str, secret: str, state_dir: Path) -> dict[str, Any]:
    """Return djhuey's settings for HUEY_URL: sqlite:, redis: or postgres:."""
    common: dict[str, Any] = {
        "name": "tracking",
        "immediate": False,
        "results": False,
        # Whoever can write the queue could otherwise run code here: messages are pickles.
        "serializer": SignedSerializer(secret=secret, salt="huey"),
        "consumer": {"workers": 2, "periodic": True},
    }
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        file = BASE_DIR / unquote(urlsplit(url).path[1:] or str(state_dir / "huey.sqlite3"))
        connection = {"filename": str(file), "timeout": 30}
        return common | {"huey_class": "huey.SqliteHuey", "connection": connection}
    if scheme in {"redis", "rediss"}:
        return common | {"huey_class": "huey.PriorityRedisHuey", "connection": {"url": url}}
    if scheme not in {"postgres", "postgresql"}:
        refuse(
            "HUEY_URL is not of the form sqlite:////path, redis://host/0 or postgres://host/name."
        )
    return common | {"huey_class": "huey.PostgresHuey", "connection": {"dsn": url}}


def pool(most: object) -> dict[str, object]:
    """Return psycopg's settings for a pool of so many connections of each process (`?pool=8`).

    Who waits longer than a connection may take gets an error; a pool that lost its connections
    tries anew whenever somebody asks, instead of ever more seldom.
    """
    if type(most) is not int or most < 2:
        refuse(
            "DATABASE_URL: pool is the most connections of a process, 2 or more, such as pool=8."
        )
    return {"min_size": 0, "max_size": most, "timeout": 5, "reconnect_timeout": 1}
