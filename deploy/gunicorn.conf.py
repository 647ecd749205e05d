"""How gunicorn serves: `gunicorn --config deploy/gunicorn.conf.py project.wsgi`."""

import ctypes
import signal
import sys
import os
from itertools import count
from pathlib import Path

from project.settings import HOST, LOGGING, PORT, STATE_DIR, WEB_THREADS, WEB_WORKERS

os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(STATE_DIR / "metrics")  # read at the next import
try:
    from prometheus_client import values
except ImportError:
    values = None

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


def on_starting(server):
    """Count anew for /metrics: another release may count other things."""
    folder = STATE_DIR / "metrics"
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)


def pre_fork(server, worker):
    """Give a worker the lowest number that none has: it goes on with a dead one's counts.

    By process id, as prometheus-client has it, each death would leave files behind for ever.
    """
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(number for number in count() if number not in taken)


def post_fork(server, worker):
    if values is not None:
        values.ValueClass = values.MultiProcessValue(lambda: worker.number)


PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent dies


def post_fork(server: object, worker: object) -> None:
    """Let no worker outlive its server: the port would stay taken, and nobody accept there.

    A worker notices by itself, but keeps busy connections, and with them the port, for
    `graceful_timeout`. SIGQUIT lets it finish the requests it has begun.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
