"""How gunicorn serves: `gunicorn --config deploy/gunicorn.conf.py project.wsgi`.

A deployment changes single settings on the command line (`--bind`), which comes before this file,
and with GUNICORN_CMD_ARGS. A socket of systemd (LISTEN_FDS) takes the place of `bind`.
"""

import ctypes
import signal
import sys
from pathlib import Path
from typing import Any

from django.db import connections
from django.urls import get_resolver

from project import workers as processes
from project.settings import HOST, LOGGING, PORT, STATE_DIR, WEB_THREADS, WEB_WORKERS

COUNTS = STATE_DIR / "metrics"  # of all workers, for /metrics
processes.share_counts(COUNTS)

bind = f"[{HOST}]:{PORT}" if ":" in HOST else f"{HOST}:{PORT}"
worker_class = "gthread"
workers = WEB_WORKERS
threads = WEB_THREADS

# Workers share what the parent has loaded, code and rules: four of them with 100,000 rules take
# 195 MiB instead of 409. Journals, geo files and connections are opened by each for itself, at its
# first request. New code or settings need a restart, not a HUP.
preload_app = True

# No recycling of workers (max_requests): their memory does not grow, and with a worker goes what it
# has counted for limits where there is no Redis.

timeout = 30  # seconds without a sign of life; a request of one thread may take longer
graceful_timeout = 10  # seconds for the requests under way when it is told to stop
# Seconds that a connection may wait for its next request. A proxy in front must hang up before
# this end does, or it sends requests into connections that are being closed.
keepalive = 15
limit_request_line = 8190  # bytes; the longest that gunicorn allows
limit_request_fields = 100
limit_request_field_size = 8190

# Workers prove that they live by touching a file; on a slow disk that alone can stop them.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
accesslog = None  # the record of requests is ours
logconfig_dict = LOGGING

# Whose headers count is said by TRUSTED_PROXIES alone. gunicorn would believe each local process,
# and whatever comes by a Unix socket, about the scheme and the path.
forwarded_allow_ips = ""
proxy_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""


PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent dies


def on_starting(_server: object) -> None:
    """Load what Django leaves to the first request: the views, and with them the schema."""
    processes.forget_counts(COUNTS)
    _ = get_resolver().url_patterns


def pre_fork(server: Any, worker: Any) -> None:
    """Let a worker inherit no connection to the database, but the counts of one that died."""
    for connection in connections.all(initialized_only=True):
        connection.close()  # two processes would talk on one
        if hasattr(connection, "close_pool"):  # PostgreSQL's
            connection.close_pool()
    taken = (other.number for other in server.WORKERS.values())
    processes.number = worker.number = processes.lowest_free(taken)


def post_fork(_server: object, _worker: object) -> None:
    """Let no worker outlive its server: the port would stay taken, and nobody accept there.

    A worker notices by itself, but keeps busy connections, and with them the port, for
    `graceful_timeout`. A kinder signal could find it holding the lock that its handler wants.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
