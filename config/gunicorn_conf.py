"""The web server's settings, the same in the demo and in production; the address comes with ``--bind``.

Two processes of four threads with a lasting database connection each were the fastest of five set-ups on two cores.
"""

import os
from typing import Any

worker_class = "gthread"
workers = int(os.environ.get("WEB_PROCESSES", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
# The application is loaded once and forked; nothing that owns threads is started before post_fork.
preload_app = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  (a heartbeat never waits for a disk)
timeout = 60
graceful_timeout = 15
keepalive = 5
# A process is replaced now and then, so that a slow leak in a renderer never becomes an outage.
max_requests = 20_000
max_requests_jitter = 2_000
accesslog = os.environ.get("WEB_ACCESS_LOG") or None
errorlog = "-"
control_socket_disable = True


def on_starting(server: Any) -> None:
    from config.warmup import load_libraries

    load_libraries()


def post_fork(server: Any, worker: Any) -> None:
    from config.warmup import start_renderer

    start_renderer()
