"""gunicorn's configuration (`gunicorn -c python:app.service.gunicorn_conf`)."""

import socket
import struct
import sys
from typing import Any

from gunicorn import glogging
from prometheus_client.multiprocess import mark_process_dead

from app.service import AFTER_FORK, metrics_directory
from app.settings import read_settings

_settings = read_settings()

bind = _settings.bind
workers = _settings.workers
# One thread per worker: more threads add no throughput and triple p99. gthread is the one sync
# worker of gunicorn that keeps connections alive; it keeps them longer than NGINX (60 s), so that
# NGINX is the side that closes them.
worker_class = "app.service.gunicorn_worker.Worker"
threads = 1
keepalive = 75
worker_connections = 1000
# The model is opened once; all workers share its pages.
preload_app = True
graceful_timeout = 10
timeout = 30
# The workers' heartbeat files must not be on a disk that can block.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True
limit_request_line = 8190
limit_request_fields = 50
accesslog = None

#: Timeout for the rest of a request that a client has begun to send.
_INCOMPLETE_REQUEST_TIMEOUT_US = 200_000


class _Logger(glogging.Logger):  # type: ignore[misc]
    """Passes gunicorn's records to the root logger, which `app.logs` configures."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        # gunicorn has added handlers of its own, and ended the propagation to the root logger.
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(_settings.log_level.upper())

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info("timeout: a client did not complete its request")
        else:
            super().exception(msg, *args, **kwargs)


logger_class = _Logger


def when_ready(server: Any) -> None:
    """Set the receive timeout on the listening sockets; accepted sockets inherit it."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(
            socket.SOL_SOCKET,
            socket.SO_RCVTIMEO,
            struct.pack("ll", 0, _INCOMPLETE_REQUEST_TIMEOUT_US),
        )


def post_worker_init(worker: Any) -> None:
    """Open in the worker what processes do not share."""
    if prepare := worker.wsgi.extensions.get(AFTER_FORK):
        prepare()


def child_exit(server: Any, worker: Any) -> None:
    """Mark an ended worker in the shared metrics; its counts stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the shared metrics, which another run would count again."""
    metrics_directory.remove()
