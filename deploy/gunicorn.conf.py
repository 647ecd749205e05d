"""How gunicorn serves: `gunicorn --config deploy/gunicorn.conf.py project.wsgi`."""

from pathlib import Path

from project.settings import HOST, PORT, WEB_THREADS, WEB_WORKERS

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

# Whose headers count is said by TRUSTED_PROXIES alone; gunicorn would believe each local process.
forwarded_allow_ips = ""
proxy_allow_ips = ""
