"""Prometheus metrics and liveness of `marquee follow`."""

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.ingest.batch_parser import LINE_KINDS, ParsedBatch
from app.recent_activity.table_format import Problem
from app.recent_activity.table_writer import TableWriter
from app.volume_metrics import VolumeMetrics

#: A heartbeat older than this means that the main loop is stuck. Filling a file records one after
#: each bucket of the event store.
MAX_HEARTBEAT_AGE_SECONDS = 120.0
_REFUSED: tuple[Problem, ...] = ("damaged", "foreign")


class FollowerMetrics:
    """The metrics of one follower, in a registry of its own."""

    def __init__(self, directory: Path) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(VolumeMetrics({"recent": directory}))
        self._heartbeat_at = time.monotonic()
        self._lines = self._counter("lines", "Lines read from the topic, by kind.", "kind")
        self._refused = self._counter(
            "files_refused", "Files that were damaged or of another format.", "reason"
        )
        self._removed = self._counter(
            "users_removed",
            "Users removed: their events expired, the file had no place, or on request.",
            "reason",
        )
        for kind in LINE_KINDS:
            self._lines.labels(kind)
        for problem in _REFUSED:
            self._refused.labels(problem)
        for reason in ("expired", "displaced", "requested"):
            self._removed.labels(reason)
        self.messages_lost = self._counter(
            "messages_lost", "Messages that the broker deleted before they were read."
        )
        self.connection_failures = self._counter(
            "connection_failures", "Failed connections and lost ones."
        )
        self.configured = self._gauge("configured", "Whether a broker is configured.")
        self.connected = self._gauge("connected", "Whether the broker responds.")
        self.consumer_lag = self._gauge("consumer_lag", "Messages not read yet.")
        self.delay_seconds = self._gauge(
            "delay_seconds",
            "Time from producing the oldest message of the last commit to that commit.",
        )
        self.commit_duration_seconds = self._gauge(
            "commit_duration_seconds", "Duration of the last commit."
        )
        self._last_commit = self._gauge(
            "last_commit_timestamp_seconds", "Time of the last commit to the file."
        )
        self._heartbeat = self._gauge(
            "heartbeat_timestamp_seconds", "Time of the last pass of the main loop."
        )
        self._users = self._gauge("users", "Users in the file.")
        self._movies = self._gauge("movies", "Movie ids in the file.")
        self._bytes = self._gauge("bytes", "Disk space of the file.")

    def record_heartbeat(self) -> None:
        """Record that the main loop makes progress."""
        self._heartbeat_at = time.monotonic()
        self._heartbeat.set_to_current_time()

    def is_alive(self) -> bool:
        """Return whether the last heartbeat is recent enough."""
        return time.monotonic() - self._heartbeat_at < MAX_HEARTBEAT_AGE_SECONDS

    def count_lines(self, batch: ParsedBatch) -> None:
        """Add the lines of a batch, by kind."""
        for kind in LINE_KINDS:
            self._lines.labels(kind).inc(batch.counts[kind])

    def count_refused(self, problem: Problem) -> None:
        """Count a file that was not used."""
        self._refused.labels(problem).inc()

    def count_requested(self, users: int) -> None:
        """Count users that were removed on request."""
        self._removed.labels("requested").inc(users)

    def record_commit(self, table: TableWriter) -> None:
        """Set what a commit changed, and count the users that were removed since the last one."""
        self._last_commit.set(table.state.committed_at)
        self._users.set(table.state.users)
        self._movies.set(table.state.movies)
        self._bytes.set(table.size_bytes)
        self._removed.labels("expired").inc(table.expired_users)
        self._removed.labels("displaced").inc(table.displaced_users)
        table.expired_users = table.displaced_users = 0

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"marquee_recent_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"marquee_recent_{name}", text, registry=self.registry)
