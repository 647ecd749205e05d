"""This machine's part: files and their readers, the disk, the journal, places, the web server."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from django.conf import settings
from django.utils import timezone

from project.doctor.findings import Finding, error, ok, warning
from tracking import conf, geo, journal, policy
from tracking.geofiles import GeoFileError, files_at
from tracking.health import OLDEST_PLACES, look_at_journal
from tracking.models import Counter, ReadPosition

MIB = 1024 * 1024
LEAST_FREE = 200 * MIB
SECONDS = 3.0  # the web server may take to answer
OTHERS = stat.S_IRWXG | stat.S_IRWXO
PRIVATE = ("db.sqlite3", "huey.sqlite3", "secret-key", "jwt-keys", "journal", "initial-password")
ANY_HOST = {"0.0.0.0", "::"}  # noqa: S104 - recognised, not listened on
LONGEST_WAIT = timedelta(minutes=5)


def look_at_files() -> Iterator[Finding]:
    """Say whether only the service can read what it keeps."""
    root = settings.STATE_DIR
    about = root.stat()
    if about.st_uid != os.geteuid():
        yield warning(
            f"{root} belongs to user {about.st_uid}, and the doctor runs as user {os.geteuid()}.",
            "Run the commands as the service's own user: what root makes, the service cannot use.",
        )
    files = list(_inside(root))
    foreign = [path.name for path, found in files if found.st_uid != about.st_uid]
    if foreign:
        yield error(
            f"{len(foreign)} files in {root} belong to somebody else, such as {foreign[0]}.",
            f"Run chown -R {about.st_uid} on {root}, and commands as that user only.",
        )
    private = [(path.name, found) for path, found in files if path.name in PRIVATE]
    readable = [name for name, found in private if found.st_mode & OTHERS]
    if readable:
        yield error(
            f"Others can read {', '.join(readable)} in {root}.",
            f"Run chmod -R go= on {root}: it holds keys, sessions and addresses.",
        )
    if (root / "initial-password").exists():
        yield warning(
            f"The first administrator's password still stands in {root / 'initial-password'}.",
            "Change the password in the admin, and delete the file.",
        )
    if not foreign and not readable:
        yield ok(f"{root} is for its owner alone.")


def look_at_disk() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.STATE_DIR).free
    taken = sum(found.st_size for _, found in _segments())
    wanted = max(0, conf.current().journal_total_bytes - taken)
    remedy = "Free some, or let STATE_DIR be on a larger disk."
    if free < LEAST_FREE:
        yield error(f"Only {free // MIB} MiB are free in {settings.STATE_DIR}.", remedy)
    elif free < wanted:
        yield warning(
            f"{free // MIB} MiB are free; while the database is away the journal may grow by"
            f" {wanted // MIB} MiB.",
            remedy,
        )
    else:
        yield ok(f"{free // MIB} MiB are free in {settings.STATE_DIR}.")


def look_at_backlog() -> Iterator[Finding]:
    check = look_at_journal()
    if check.ok:
        yield ok(f"Of the journal {check.detail}.")
    else:
        yield error(
            f"Of the journal {check.detail}.",
            "Look in the log why the database does not take them; then manage.py drain.",
        )
    forgotten = list(_forgotten())
    if forgotten:
        yield warning(
            f"{len(forgotten)} files of processes that are gone wait to be stored.",
            "Start the service or its worker, which adopt them, or run manage.py drain.",
        )


def look_at_places() -> Iterator[Finding]:
    path = conf.current().geoip
    used = geo.status()
    paths = [file for file, _ in files_at(path)]
    if not paths:
        yield warning(
            f"There are no files of places at {path}: countries stay unknown, and rules about"
            " them match nobody.",
            "Run manage.py update_geoip.",
        )
    for unused in (path for path in paths if path.name not in {file.name for file in used}):
        yield error(f"{unused} cannot be used: {_reason(unused)}.", "Run manage.py update_geoip.")
    for file in used:
        age = timezone.now() - file.built
        told = f"{file.name} ({file.type}: {', '.join(file.kinds)}) is {age.days} days old."
        if age > OLDEST_PLACES:
            yield warning(told, "Run manage.py update_geoip, and see why the worker does not.")
        else:
            yield ok(told)


def look_at_web() -> Iterator[Finding]:
    """Ask the web server of this node, as a probe would."""
    url = f"{_root()}/readyz"
    try:
        status, _ = _fetch(url)
    except OSError as failure:
        yield warning(
            f"Nothing answers at {url} ({failure}).",
            "Start it (manage.py serve, or gunicorn), or set HOST and PORT as it has them.",
        )
        return
    if status == HTTPStatus.OK:
        yield ok(f"{url} answers 200.")
    else:
        yield error(f"{url} answers {status}.", "The other findings say why.")


def look_at_rules() -> Iterator[Finding]:
    """Compare the rules that a web process decides by with the book."""
    try:
        _, text = _fetch(f"{_root()}/metrics")
    except OSError:  # the section before has told
        return
    stored = Counter.objects.filter(name=policy.VERSION).values_list("value", flat=True).first()
    known = re.search(r"^tracking_rules_version (-?\d+)", text, re.MULTILINE)
    if known is None:
        return
    if int(known[1]) == (stored or 0):
        yield ok(f"A web process has the rules of version {known[1]}, as the database has.")
    else:
        yield warning(
            f"A web process has the rules of version {known[1]}, the database of {stored or 0}.",
            "Ask again: changes take up to a second. If it stays, restart the web server.",
        )


def _root() -> str:
    host = "127.0.0.1" if settings.HOST in ANY_HOST else settings.HOST
    return f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"


def _fetch(url: str) -> tuple[int, str]:
    opener = build_opener(ProxyHandler({}))  # a proxy of the environment is not for this
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status, answer.read(MIB).decode()
    except HTTPError as refused:
        with refused:
            return refused.code, ""


def _inside(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what lies in the folder and below, but for static files, of which there are many."""
    for path in root.iterdir():
        yield from _found(path)
        if path.is_dir() and path.name != "static":
            for below in path.rglob("*"):
                yield from _found(below)


def _found(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(FileNotFoundError):  # the service works, files come and go
        yield path, path.lstat()


def _forgotten() -> Iterator[Path]:
    """Yield segments that nobody holds, and that have waited for long."""
    oldest = (timezone.now() - LONGEST_WAIT).timestamp()
    segments = _segments()
    rows = ReadPosition.objects.filter(name__in=[path.name for path, _ in segments])
    offsets = dict(rows.values_list("name", "offset"))
    for path, found in segments:
        waits = found.st_size > offsets.get(path.name, 0)
        if waits and found.st_mtime < oldest and _is_free(path):
            yield path


def _is_free(segment: Path) -> bool:
    try:
        fd = os.open(segment, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return journal.lock(fd)
    finally:
        os.close(fd)


def _segments() -> list[tuple[Path, os.stat_result]]:
    paths = journal.segments(conf.current().journal_dir)
    return [found for path in paths for found in _found(path)]


def _reason(file: Path) -> str:
    try:
        geo.Reader(file)
    except GeoFileError as reason:
        return str(reason)
    except OSError as reason:
        return reason.strerror or "it cannot be read"
    return "it was replaced just now"
