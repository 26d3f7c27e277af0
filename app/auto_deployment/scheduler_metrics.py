"""What Prometheus learns of retraining, and whether the scheduler lives."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from app import logs
from app.auto_deployment.auto_deploy import STATE
from app.auto_deployment.workspace import Workspace
from app.notifications.notifier import pending_messages
from app.settings import Settings

#: The loop goes round every few seconds, unless it hangs.
_HEARTBEAT_SECONDS = 60
_STATUSES = ("published", "unchanged", "waiting", "refused", "gate", "failed")
_log = logs.get(__name__)


class Clock(Protocol):
    """What is asked of a scheduler."""

    beat: float

    def due(self) -> float:
        """When the next run begins."""


class RetrainMetrics(Collector):
    """Reads what runs left in the workspace, so that runs by hand count, too."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._configured = bool(settings.git_remote)
        self._workspace = Workspace(settings)
        self._outbox = settings.outbox_dir
        self._clock = clock
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        state, run = self._workspace.read(STATE), self._workspace.read("run.json")
        gauges = {
            "configured": ("Whether versions are made here.", float(self._configured)),
            "running": ("Whether a run is under way.", float(bool(run))),
            "next_timestamp_seconds": ("When the next run is due.", self._clock.due()),
            # Before the first success the start counts, so that its absence is noticed, too.
            "last_success_timestamp_seconds": (
                "When a run last did what there was to do.",
                state.get("last_success") or self._started,
            ),
            "last_duration_seconds": ("How long the last run took.", state.get("seconds") or 0.0),
            "version": ("The last version that was published.", state.get("version") or 0),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(f"marquee_retrain_{name}", meaning, float(value))
        last = GaugeMetricFamily(
            "marquee_retrain_last_status", "How the last run ended: 1.", labels=["status"]
        )
        runs = CounterMetricFamily(
            "marquee_retrain_runs", "Runs by how they ended.", labels=["status"]
        )
        for status in _STATUSES:
            last.add_metric([status], float(state.get("status") == status))
            runs.add_metric([status], state.get("runs", {}).get(status, 0))
        yield last
        yield runs
        yield GaugeMetricFamily(
            "marquee_notification_outbox_messages",
            "Messages that no channel has accepted yet.",
            len(pending_messages(self._outbox)),
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry, clock: Clock) -> None:
        super().__init__(address, _Handler)
        self.registry = registry
        self.clock = clock


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(self.server.registry))
        elif self.path == "/health":
            alive = time.monotonic() - self.server.clock.beat < _HEARTBEAT_SECONDS
            status = json.dumps({"status": "alive" if alive else "stuck"}).encode()
            self._send(200 if alive else 503, "application/json", status)
        else:
            problem = {"type": "about:blank", "title": "Not Found", "status": 404}
            self._send(404, "application/problem+json", json.dumps(problem).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        _log.debug("asked", line=format % args)


def serve(settings: Settings, clock: Clock) -> _Server | None:
    """Answer in a thread of its own; without the port, scheduling goes on and the log says so."""
    host, _, port = settings.scheduler_bind.rpartition(":")
    registry = CollectorRegistry()
    registry.register(RetrainMetrics(settings, clock))
    try:
        server = _Server((host, int(port)), registry, clock)
    except OSError as error:
        _log.error("no metrics: cannot listen", address=settings.scheduler_bind, error=str(error))
        return None
    Thread(target=server.serve_forever, daemon=True).start()
    return server
