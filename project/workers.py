"""The web processes of one server: each has a number, under which it counts for `/metrics`.

By process id, as is usual, each worker that dies would leave files behind; by number the next one
goes on with its counts. deploy/gunicorn.conf.py calls what stands here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path

LEAST_FREE = 8 * 1024 * 1024  # bytes of the disk

number = -1  # of this process; -1 in a server that has no workers yet


def share_counts(folder: Path) -> None:
    """Let all processes count in files in this folder; call it before project.metrics is read.

    On a full disk each goes on counting for itself: the files are mapped, and who writes where the
    disk has no room for them is killed (SIGBUS).
    """
    if shutil.disk_usage(folder.parent).free < LEAST_FREE:
        return
    folder.mkdir(exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # prometheus-client reads it as it loads
    try:
        from prometheus_client import values  # noqa: PLC0415
    except ImportError:
        return
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def forget_counts(folder: Path) -> None:
    """Begin at 0, in a server that has just started: another release may count other things."""
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)


def lowest_free(taken: Iterable[int]) -> int:
    """Return the number for a new worker beside those that have these."""
    others = set(taken)
    return next(free for free in count() if free not in others)
