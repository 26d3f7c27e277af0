"""gunicorn's configuration (`gunicorn -c python:app.service.gunicorn_conf`)."""

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from gunicorn import glogging
from prometheus_client.multiprocess import mark_process_dead

from app.service.metrics import MULTIPROCESS
from app.settings import read_settings

_settings = read_settings()

bind = _settings.bind
workers = _settings.workers
# One thread a worker: more add no throughput and triple p99. Of gunicorn's workers only gthread
# keeps connections alive, for longer than NGINX does (60 s), so that NGINX is the one to close.
worker_class = "app.service.gunicorn_worker.Worker"
threads = 1
keepalive = 75
worker_connections = 1000
# The model is opened once and its pages are shared by all workers.
preload_app = True
graceful_timeout = 10
timeout = 30
# The heartbeat file must not be on a disk that can block.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True
limit_request_line = 8190
limit_request_fields = 50
accesslog = None

#: A client that stops in the middle of its request is given up after this time.
_HALF_REQUEST_MICROSECONDS = 200_000


class _Logger(glogging.Logger):  # type: ignore[misc]
    """Leaves gunicorn's records to our own set-up, which renders all alike (see app.logs)."""

    def setup(self, cfg: Any) -> None:
        self.error_log.setLevel(_settings.log_level.upper())

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info("gave up a client that stopped in the middle of its request")
        else:
            super().exception(msg, *args, **kwargs)


logger_class = _Logger


def when_ready(server: Any) -> None:
    """Bound what a slow client can hold: accepted sockets inherit this from the listener."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, _HALF_REQUEST_MICROSECONDS)
        )


def child_exit(server: Any, worker: Any) -> None:
    """Tell the metrics that a worker is gone; its counts stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Leave no counts behind for the next run."""
    directory = Path(os.environ[MULTIPROCESS])
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a mounted directory stays
        directory.rmdir()
