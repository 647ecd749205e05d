"""The database, Redis and the worker's queue: whether they answer, and how they are set up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from huey.contrib.djhuey import HUEY

from project.doctor.findings import Finding, error, ok, warning
from tracking import conf
from tracking.counters import REDIS_TIMEOUT, RedisAwayError, RedisClient

MOST_SKEW = 2.0  # seconds
LONGEST_QUEUE = 1000
PINGS = 5
REDIS = {"redis", "rediss", "unix"}
FEWEST_SPARE = 3  # connections that PostgreSQL keeps for its administrators


def look_at_database() -> Iterator[Finding]:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took = (time.perf_counter() - began) * 1000
    version = ".".join(map(str, connection.get_database_version()))
    yield ok(f"{connection.display_name} {version} answers in {took:.0f} ms.")
    yield from look_at_sqlite() if connection.vendor == "sqlite" else look_at_postgresql()


def look_at_sqlite() -> Iterator[Finding]:
    mode = asked("PRAGMA journal_mode")
    if mode == "wal":
        yield ok("It writes ahead (WAL), so readers do not wait for writers.")
    else:
        yield warning(
            f"Its journal mode is {mode}: readers wait for writers.",
            "Let nothing but this service open the file, on a local disk, and start it again.",
        )


def look_at_postgresql() -> Iterator[Finding]:
    encoding = asked("SHOW server_encoding")
    if encoding != "UTF8":
        yield error(f"Its encoding is {encoding}.", "Make the database anew with ENCODING 'UTF8'.")
    skew = clock_skew(lambda: float(asked("SELECT extract(epoch FROM clock_timestamp())")))
    yield skewed("the database", skew)
    most = int(asked("SHOW max_connections")) - FEWEST_SPARE
    # A connection for each thread and two for each process's own; the worker has four.
    wanted = settings.WEB_WORKERS * (settings.WEB_THREADS + 2) + 4
    if wanted > most:
        yield warning(
            f"This node may want {wanted} connections, and {most} are to be had.",
            "Raise max_connections of PostgreSQL, or lower WEB_WORKERS or WEB_THREADS.",
        )
    else:
        yield ok(f"This node may want {wanted} of {most} connections.")


def look_at_migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    loader = executor.loader
    missing = [step for step, _ in executor.migration_plan(loader.graph.leaf_nodes())]
    ours = {app for app, _ in loader.disk_migrations}
    unknown = [key for key in loader.applied_migrations if key[0] in ours]
    unknown = [key for key in unknown if key not in loader.disk_migrations]
    replaced = {key for step in loader.disk_migrations.values() for key in step.replaces}
    unknown = [key for key in unknown if key not in replaced]
    if missing:
        yield error(
            f"{len(missing)} migrations are missing, the first is {missing[0]}.",
            "Run manage.py migrate.",
        )
    if unknown:
        yield error(
            f"The database knows migrations of a newer release, such as {'.'.join(unknown[0])}.",
            "Install that release again, or restore the backup made before it.",
        )
    if not missing and not unknown:
        yield ok("All migrations are applied.")


def look_at_redis() -> Iterator[Finding]:
    url = conf.current().redis_url
    if not url:
        yield ok("No REDIS_URL: each process counts limits for itself.")
        return
    client = RedisClient(url, "The doctor looks")
    try:
        took = statistics.median(_ping(client) for _ in range(PINGS)) * 1000
        facts: dict[str, Any] = client.ask(lambda redis: redis.info())
        skew = clock_skew(lambda: client.ask(lambda redis: _seconds(redis.time())))
    except RedisAwayError as away:
        yield error(
            f"It does not answer within {REDIS_TIMEOUT * 1000:.0f} ms ({away.__cause__}).",
            "Start Redis, or correct REDIS_URL; until then each process counts limits for itself.",
        )
        return
    yield ok(f"Redis {facts.get('redis_version', '?')} answers in {took:.1f} ms.")
    yield skewed("Redis", skew)
    yield from look_at_memory(facts, has_queue=_is_redis(settings.HUEY))


def look_at_memory(facts: dict[str, Any], *, has_queue: bool) -> Iterator[Finding]:
    """Say what Redis does when its memory is full: limits must not be forgotten, tasks lost."""
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
    if policy.startswith("allkeys") or (has_queue and policy != "noeviction"):
        yield warning(
            f"When its memory is full Redis forgets what it likes (maxmemory-policy {policy}).",
            "Set maxmemory-policy noeviction, and give other caches a Redis of their own.",
        )
    elif most and used > 0.9 * most:
        yield warning(
            f"{used} of {most} bytes of its memory are used.",
            "Raise maxmemory, or find who uses it.",
        )
    else:
        yield ok(f"When its memory is full Redis refuses to write (maxmemory-policy {policy}).")


def look_at_queue() -> Iterator[Finding]:
    waiting, later = HUEY.pending_count(), HUEY.scheduled_count()
    if waiting > LONGEST_QUEUE:
        yield error(
            f"{waiting} tasks wait in the queue.",
            "Start the worker (manage.py run_huey), or look in its log what keeps it busy.",
        )
    else:
        kind = type(HUEY).__name__
        yield ok(f"The queue ({kind}) answers: {waiting} tasks wait, {later} are for later.")


def clock_skew(ask: Any) -> float:
    """Return by how many seconds the clock that `ask` reads is ahead of ours."""
    before = time.time()
    theirs = ask()
    return float(theirs - (before + time.time()) / 2)


def skewed(whose: str, skew: float) -> Finding:
    if abs(skew) <= MOST_SKEW:
        return ok(f"The clock of {whose} and ours agree to {abs(skew):.1f} s.")
    ahead = "ahead of" if skew > 0 else "behind"
    return error(
        f"The clock of {whose} is {abs(skew):.0f} s {ahead} ours: what happened when is wrong.",
        "Let every machine set its clock by NTP (timedatectl set-ntp true).",
    )


def asked(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def _ping(client: RedisClient) -> float:
    began = time.perf_counter()
    client.ask(lambda redis: redis.ping())
    return time.perf_counter() - began


def _seconds(told: tuple[int, int]) -> float:
    return told[0] + told[1] / 1e6


def _is_redis(huey: dict[str, Any]) -> bool:
    return urlsplit(str(huey["connection"].get("url", ""))).scheme in REDIS
