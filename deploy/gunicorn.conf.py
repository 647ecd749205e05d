"""How gunicorn serves: `gunicorn --config deploy/gunicorn.conf.py project.wsgi`."""

import ctypes
import signal
import sys
from pathlib import Path
from typing import Any

from project import workers as processes
from project.settings import HOST, LOGGING, PORT, STATE_DIR, WEB_THREADS, WEB_WORKERS

COUNTS = STATE_DIR / "metrics"  # of all workers, for /metrics
processes.share_counts(COUNTS)

bind = f"[{HOST}]:{PORT}" if ":" in HOST else f"{HOST}:{PORT}"
worker_class = "gthread"
workers = WEB_WORKERS
threads = WEB_THREADS
preload_app = False  # each process opens its own journal, database connections and geo files

timeout = 30
graceful_timeout = 10
keepalive = 15
limit_request_line = 8190  # bytes; the longest that gunicorn allows
limit_request_fields = 100
limit_request_field_size = 8190

# Workers prove that they live by touching a file; on a slow disk that alone can stop them.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
accesslog = None  # the record of requests is ours
logconfig_dict = LOGGING

# Whose headers count is said by TRUSTED_PROXIES alone; gunicorn would believe each local process.
forwarded_allow_ips = ""
proxy_allow_ips = ""


PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent dies


def on_starting(_server: object) -> None:
    processes.forget_counts(COUNTS)


def pre_fork(server: Any, worker: Any) -> None:
    """Let a worker go on with the counts of one that died."""
    taken = (other.number for other in server.WORKERS.values())
    processes.number = worker.number = processes.lowest_free(taken)


def post_fork(_server: object, _worker: object) -> None:
    """Let no worker outlive its server: the port would stay taken, and nobody accept there.

    A worker notices by itself, but keeps busy connections, and with them the port, for
    `graceful_timeout`. SIGQUIT lets it finish the requests it has begun.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
