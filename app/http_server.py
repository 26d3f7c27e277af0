"""HTTP server of a long-running command: `/metrics`, `/health` and routes of its own.

The collector, the shipper, the scheduler and the simulator use it; the service itself runs under
gunicorn (`app/service`).
"""

from collections.abc import Callable
from threading import Thread

import prometheus_client
from cheroot.wsgi import Server
from flask import Flask, Response, jsonify
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app import logs, problem_details
from app.addresses import parse_address

_THREADS = 8
#: A client that sends nothing for this long is disconnected.
_TIMEOUT_SECONDS = 5
_log = logs.get(__name__)


def create_app(registry: CollectorRegistry, is_alive: Callable[[], bool]) -> Flask:
    """Create an application with `/metrics` and `/health`; errors are problem documents.

    Args:
        registry: the metrics that `/metrics` returns.
        is_alive: whether the main loop makes progress; `/health` returns 200 or 503.
    """
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)  # of which the alert RestartLoop uses the start time
    app = Flask("marquee", static_folder=None)
    problem_details.init_app(app)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    @app.get("/health")
    def health() -> tuple[Response, int]:
        alive = is_alive()
        return jsonify(status="alive" if alive else "stuck"), 200 if alive else 503

    return app


class _Server(Server):
    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Log what cheroot would print to standard error. Errors of requests are Flask's."""
        _log.log(level, "http server error", error=msg, exc_info=traceback)


class BackgroundServer:
    """Serves an application in background threads until `stop`.

    Attributes:
        port: the listening port, also when 0 was given for a free one.
    """

    def __init__(self, bind: str, app: Flask) -> None:
        """Listen at `bind`, given as `host:port`.

        Raises:
            OSError: the address is in use or does not exist.
        """
        self._server = _Server(parse_address(bind), app, numthreads=_THREADS, shutdown_timeout=1)
        self._server.timeout = _TIMEOUT_SECONDS
        self._server.prepare()
        self.port = int(self._server.bind_addr[1])
        self._thread = Thread(target=self._server.serve, name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the listening socket and stop the threads."""
        self._server.stop()
        self._thread.join()


def start_server(bind: str, app: Flask) -> BackgroundServer | None:
    """Serve `app` at `bind`; if the port is not available, log an error and return None."""
    try:
        return BackgroundServer(bind, app)
    except OSError as error:
        _log.error("no metrics: cannot listen", address=bind, error=str(error))
        return None
