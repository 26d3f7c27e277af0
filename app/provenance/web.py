"""The shipper's own small port: `/trace/<request_id>`, `/metrics`, `/health`. Not for clients."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.provenance.lineage import Tracer
from app.provenance.shipper_metrics import ShipperMetrics

#: The loop goes round at least this often, unless it hangs.
_HEARTBEAT_SECONDS = 180
_JSON, _PROBLEM = "application/json", "application/problem+json"

_log = logs.get(__name__)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], metrics: ShipperMetrics, tracer: Tracer) -> None:
        super().__init__(address, _Handler)
        self.metrics = metrics
        self.tracer = tracer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(self.server.metrics.registry))
        elif path == "/health":
            alive = time.monotonic() - self.server.metrics.beat < _HEARTBEAT_SECONDS
            self._json(200 if alive else 503, {"status": "alive" if alive else "stuck"})
        elif path.startswith("/trace/"):
            self._trace(path.removeprefix("/trace/"))
        else:
            self._problem(404, "Not Found", "no such page")

    def _trace(self, request_id: str) -> None:
        try:
            records = self.server.tracer.request(request_id)
        except SQLAlchemyError:
            self._problem(503, "Service Unavailable", "the database does not answer")
            return
        if records:
            self._json(200, {"records": records})
        else:
            self._problem(404, "Not Found", "no record of such a request (yet)")

    def _json(self, status: int, content: object) -> None:
        self._send(status, _JSON, json.dumps(content).encode())

    def _problem(self, status: int, title: str, detail: str) -> None:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        self._send(status, _PROBLEM, json.dumps(problem).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        _log.debug("asked", line=format % args)


def serve(bind: str, metrics: ShipperMetrics, tracer: Tracer) -> _Server | None:
    """Answer in a thread of its own; without the port, shipping goes on and the log says so."""
    host, _, port = bind.rpartition(":")
    try:
        server = _Server((host, int(port)), metrics, tracer)
    except OSError as error:
        _log.error("no metrics and no /trace: cannot listen", address=bind, error=str(error))
        return None
    Thread(target=server.serve_forever, daemon=True).start()
    return server
