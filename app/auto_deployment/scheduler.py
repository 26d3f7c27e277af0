"""Start a retraining every two days, and export its metrics to Prometheus."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from threading import Event
from typing import Any, get_args

import schedule
from flask import Flask, Response, jsonify
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app import logs
from app.auto_deployment.auto_deploy import Status
from app.auto_deployment.version_reports import FairnessHistory
from app.auto_deployment.workspace import ORDERS_FILE, RUN_FILE, STATE_FILE, Workspace
from app.http_server import create_app, start_server
from app.notifications.flusher import OutboxFlusher
from app.notifications.notifier import pending_messages, undeliverable_messages
from app.orders import Order, read_orders
from app.settings import Settings
from app.settings_watch import SettingsWatch
from app.shutdown import stop_event
from app.volume_metrics import VolumeMetrics

_TICK_SECONDS = 5.0
#: `/health` fails when the loop has not ticked for this long.
_MAX_HEARTBEAT_AGE_SECONDS = 60
#: How long a run may take to end after SIGTERM.
_STOP_TIMEOUT_SECONDS = 20
#: Runs that are retried after `retrain_retry_minutes`: an error, or nothing collected yet.
_RETRIED: tuple[Status, ...] = ("failed", "no_data")
#: Orders whose outcome is kept.
_KEPT_ORDERS = 20
_log = logs.get(__name__)


class Scheduler:
    """Starts a run when the next one is due, one at a time.

    The next run's time follows from how the last one ended, which the workspace records. So it
    holds across restarts and counts manual runs, and a missed run is made up for once.

    Args:
        settings: the interval.
        run: executes a run, and ends early when the event is set.
    """

    def __init__(self, settings: Settings, run: Callable[[Event], None]) -> None:
        self._settings = settings
        self._workspace = Workspace(settings)
        self._not_before = 0.0
        self._run = run
        self._stop = Event()
        self._schedule = schedule.Scheduler()
        interval_seconds = int(settings.retrain_interval_hours * 3600)
        self._job = self._schedule.every(interval_seconds).seconds.do(self._start_run)
        self.record_heartbeat()

    def record_heartbeat(self) -> None:
        """Record that the loop makes progress."""
        self._heartbeat = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the loop has made progress within the last minute."""
        return time.monotonic() - self._heartbeat < _MAX_HEARTBEAT_AGE_SECONDS

    def next_run_at(self) -> float:
        """When the next run is due, in seconds since 1970; in the past for a missed run."""
        state = self._workspace.read(STATE_FILE)
        finished_at = float(state.get("finished_at") or 0)
        if not 0 < finished_at <= time.time():  # no run yet, or recorded by a wrong clock
            return self._not_before
        pause_seconds = (
            self._settings.retrain_retry_minutes * 60
            if state.get("status") in _RETRIED
            else self._settings.retrain_interval_hours * 3600
        )
        return max(finished_at + pause_seconds, self._not_before)

    def run_until(self, stop: Event, has_changed: Callable[[], bool] = lambda: False) -> None:
        """Tick until the event is set or, between two runs, settings have changed."""
        while not (stop.is_set() or has_changed()):
            self.tick(stop)
            stop.wait(_TICK_SECONDS)

    def tick(self, stop: Event) -> None:
        """Start a run if one is due or was ordered, and wait for its end."""
        self.record_heartbeat()
        self._stop = stop
        if order := self._take_order():
            self._start_ordered_run(order)
            return
        # The interval counts from the end of the last run, also of a manual one.
        self._job.next_run = datetime.fromtimestamp(self.next_run_at())
        self._schedule.run_pending()

    def _take_order(self) -> Order | None:
        """Return the oldest order to retrain that is in force, recorded as accepted."""
        orders = self._read_recorded_orders()
        last = max((str(one.get("id")) for one in orders), default="")
        try:
            given = read_orders(self._settings.orders_dir, after=last)
            for order in given:
                if order.action == "retrain":
                    self._record_order(order, "accepted", order.reason)
                    return order
        except OSError as error:  # an order that cannot be recorded could be carried out twice
            _log.error("cannot take an order of the console", error=str(error))
        return None

    def _start_ordered_run(self, order: Order) -> None:
        _log.info("retraining ordered", id=order.id, reason=order.reason)
        started = time.time()
        self._start_run()
        state = self._workspace.read(STATE_FILE)
        has_run = float(state.get("finished_at") or 0) >= started
        outcome, detail = "failed", "the run did not end by itself, see the log"
        if has_run:
            outcome, detail = "done", str(state.get("subject"))
        try:
            self._record_order(order, outcome, detail)
        except OSError as error:
            _log.error("cannot record the outcome of an order", error=str(error))

    def _record_order(self, order: Order, outcome: str, detail: str) -> None:
        row = {"id": order.id, "outcome": outcome, "detail": detail, "time": time.time()}
        others = [one for one in self._read_recorded_orders() if one.get("id") != order.id]
        self._workspace.path.mkdir(parents=True, exist_ok=True)
        self._workspace.write(ORDERS_FILE, {"orders": [*others, row][-_KEPT_ORDERS:]})

    def _read_recorded_orders(self) -> list[dict[str, Any]]:
        orders = self._workspace.read(ORDERS_FILE).get("orders")
        return [one for one in orders if isinstance(one, dict)] if isinstance(orders, list) else []

    def _start_run(self) -> None:
        started = time.time()
        _log.info("retraining starts")
        self._run(self._stop)
        state = self._workspace.read(STATE_FILE)
        if float(state.get("finished_at") or 0) < started:  # it was killed
            self._not_before = time.time() + self._settings.retrain_retry_minutes * 60
        next_run = datetime.fromtimestamp(self.next_run_at()).astimezone()
        _log.info(
            "retraining ended",
            status=state.get("status"),
            next_run=next_run.isoformat(timespec="seconds"),
        )


class RetrainMetrics(Collector):
    """Metrics of all runs, manual ones included, as the workspace records them."""

    def __init__(self, settings: Settings, scheduler: Scheduler) -> None:
        self._configured = bool(settings.git_remote)
        self._workspace = Workspace(settings)
        self._outbox = settings.outbox_dir
        self._scheduler = scheduler
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        """Read the state and yield every metric."""
        state = self._workspace.read(STATE_FILE)
        gauges = {
            "configured": ("Whether a repository for new versions is set.", self._configured),
            "running": ("Whether a run is in progress.", self._workspace.is_running()),
            "next_timestamp_seconds": ("When the next run is due.", self._scheduler.next_run_at()),
            # Before the first success, the last run that found no data counts, or else the start,
            # so that the alert fires three days after the first data.
            "last_success_timestamp_seconds": (
                "When a run last succeeded, or waited for the first data.",
                state.get("last_success_at") or state.get("last_no_data_at") or self._started,
            ),
            "last_duration_seconds": (
                "Duration of the last run.",
                state.get("duration_seconds") or 0,
            ),
            "version": ("The last version that was published.", state.get("version") or 0),
        }
        for name, (description, value) in gauges.items():
            yield GaugeMetricFamily(f"marquee_retrain_{name}", description, float(value))
        last = GaugeMetricFamily(
            "marquee_retrain_last_status", "1 for the status of the last run.", labels=["status"]
        )
        runs = CounterMetricFamily("marquee_retrain_runs", "Runs by status.", labels=["status"])
        for status in get_args(Status):
            last.add_metric([status], float(state.get("status") == status))
            runs.add_metric([status], state.get("runs", {}).get(status, 0))
        yield last
        yield runs
        yield GaugeMetricFamily(
            "marquee_notification_outbox_messages",
            "Messages that wait to be delivered, one for each recipient.",
            len(pending_messages(self._outbox)),
        )
        yield GaugeMetricFamily(
            "marquee_notification_undeliverable_messages",
            "Messages that were refused for good or not accepted in all tries.",
            len(undeliverable_messages(self._outbox)),
        )


def create_registry(settings: Settings, scheduler: Scheduler) -> CollectorRegistry:
    """Return the metrics that the scheduler exports."""
    registry = CollectorRegistry()
    registry.register(RetrainMetrics(settings, scheduler))
    registry.register(VolumeMetrics({"workspace": settings.workspace_dir}))
    return registry


def create_scheduler_app(settings: Settings, scheduler: Scheduler) -> Flask:
    """The scheduler's HTTP server: `/metrics`, `/health`, and `/state` for the console.

    `/state` has status, subject and end of the last run (seconds since 1970), and the step of a run
    in progress or one that was killed, and the console's orders with their outcome; each is null
    where there is none. `fairness` has the figures of the reports of the published versions.
    """
    app = create_app(create_registry(settings, scheduler), scheduler.is_alive)
    workspace = Workspace(settings)
    fairness = FairnessHistory(workspace)

    @app.get("/state")
    def state() -> Response:
        last = workspace.read(STATE_FILE)
        return jsonify(
            status=last.get("status"),
            subject=last.get("subject"),
            finished_at=last.get("finished_at"),
            step=workspace.read(RUN_FILE).get("step"),
            orders=workspace.read(ORDERS_FILE).get("orders"),
            fairness=fairness.read(),
        )

    return app


def run_scheduler(settings: Settings) -> None:
    """Schedule runs until SIGTERM or SIGINT; without a repository only answer `/health`."""
    stop = stop_event()
    watch = SettingsWatch(settings, stop)
    scheduler = Scheduler(settings, lambda stop: run_command(stop, scheduler.record_heartbeat))
    server = start_server(settings.scheduler_bind, create_scheduler_app(settings, scheduler))
    OutboxFlusher(settings, stop).start()
    if settings.git_remote:
        _log.info(
            "scheduler started",
            interval_hours=settings.retrain_interval_hours,
            workspace=str(settings.workspace_dir),
        )
        warn_of_local_remote(settings)
        scheduler.run_until(stop, watch.has_changed)
    else:
        _log.info("retraining is disabled: MARQUEE_GIT_REMOTE is not set")
        while not (stop.wait(_TICK_SECONDS) or watch.has_changed()):
            scheduler.record_heartbeat()
    if server:
        server.stop()
    watch.restart_if_changed()
    _log.info("scheduler stopped")


def warn_of_local_remote(settings: Settings) -> None:
    """Log that the versions are lost with this host, if their remote is a directory of it."""
    if "://" not in settings.dvc_remote:
        _log.warning(
            "the DVC remote is a directory: all versions are on this host, unless it is copied "
            "elsewhere (docs/retraining.md)",
            remote=settings.dvc_remote or "that of .dvc/config",
        )


def run_command(stop: Event, heartbeat: Callable[[], None]) -> None:
    """Run `marquee retrain` in a child process, so that a crash does not end the scheduler.

    Args:
        stop: terminates the run when it is set.
        heartbeat: called several times a second until the run has ended.
    """
    # A file, because a pipe holds 64 KiB: the result of a failed run may be longer.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "retrain", "--json"], stdout=output
        )
        while process.poll() is None:
            heartbeat()
            if stop.wait(0.2):
                process.terminate()
                try:
                    process.wait(_STOP_TIMEOUT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        output.seek(0)
        text = output.read()
    if process.returncode < 0 and not stop.is_set():
        _log.error("the retraining was killed", signal=-process.returncode)
    try:
        result = json.loads(text)
    except ValueError:
        return
    _log.info("result of the retraining", status=result["status"], subject=result["subject"])
