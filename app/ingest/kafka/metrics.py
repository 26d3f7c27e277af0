"""Prometheus metrics and liveness of the collector."""

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.ingest.batch_parser import LINE_KINDS, ParsedBatch
from app.ingest.log_parser import REASONS
from app.ingest.store_files import MANIFEST_NAME
from app.volume_metrics import VolumeMetrics

#: A heartbeat older than this means that the main loop is stuck; the alert CollectorDown has the
#: same limit. Merging a large store can take minutes.
MAX_HEARTBEAT_AGE_SECONDS = 900.0


class CollectorMetrics:
    """The metrics of one collector, in a registry of its own."""

    def __init__(self, store: Path) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(VolumeMetrics({"store": store}))
        self._heartbeat_at = time.monotonic()
        self._lines = self._counter("ingest_lines", "Lines read from the topic, by kind.", "kind")
        self._rejected_lines = self._counter(
            "ingest_lines_rejected", "Rejected lines, by reason.", "reason"
        )
        for kind in LINE_KINDS:
            self._lines.labels(kind)
        for reason in REASONS:
            self._rejected_lines.labels(reason)
        self.repaired_lines = self._counter(
            "ingest_lines_repaired", "Lines whose movie id can be repaired, counted every hour."
        )
        self.messages_lost = self._counter(
            "kafka_messages_lost", "Messages that the broker deleted before they were read."
        )
        self.connection_failures = self._counter(
            "kafka_connection_failures", "Failed connections and lost ones."
        )
        self.configured = self._gauge("kafka_configured", "Whether a broker is configured.")
        self.connected = self._gauge("kafka_connected", "Whether the broker responds.")
        self.consumer_lag = self._gauge("kafka_consumer_lag", "Messages not read yet.")
        self.delay_seconds = self._gauge(
            "ingest_delay_seconds",
            "Time from producing the oldest message of the last commit to that commit.",
        )
        self.last_commit = self._gauge(
            "collector_last_commit_timestamp_seconds",
            "Time of the last commit to the store, also by an earlier process.",
        )
        self.uncommitted_messages = self._gauge(
            "collector_uncommitted_messages", "Messages of the topic after the last commit."
        )
        self.last_loss = self._gauge(
            "kafka_last_loss_timestamp_seconds",
            "When messages were found to be lost; 0: not since the start.",
        )
        self.commit_duration_seconds = self._gauge(
            "collector_commit_duration_seconds", "Duration of the last commit to the store."
        )
        self.expired_rows = self._counter(
            "store_expired_rows", "Rows dropped because they are older than the retention."
        )
        self._heartbeat = self._gauge(
            "collector_heartbeat_timestamp_seconds", "Time of the last pass of the main loop."
        )
        self._store_rows = self._gauge("store_rows", "Rows: one per user and movie.", "table")
        self._store_bytes = self._gauge("store_bytes", "Size of the store's files.")

    def record_heartbeat(self) -> None:
        """Record that the main loop makes progress."""
        self._heartbeat_at = time.monotonic()
        self._heartbeat.set_to_current_time()

    def is_alive(self) -> bool:
        """Return whether the last heartbeat is recent enough."""
        return time.monotonic() - self._heartbeat_at < MAX_HEARTBEAT_AGE_SECONDS

    def set_last_commit(self, store: Path) -> None:
        """Set the time of the last commit to that of a store; now for a new store.

        A process that ends at each commit, because the disk is full, must not start it again.
        """
        try:
            self.last_commit.set((store / MANIFEST_NAME).stat().st_mtime)
        except OSError:
            self.last_commit.set_to_current_time()

    def count_lost_messages(self, messages: int) -> None:
        """Add messages that the broker deleted before they were read; may be 0."""
        self.messages_lost.inc(messages)
        if messages:
            self.last_loss.set_to_current_time()

    def count_lines(self, batch: ParsedBatch) -> None:
        """Add the lines of a batch, by kind and by reason."""
        for kind in LINE_KINDS:
            self._lines.labels(kind).inc(batch.counts[kind])
        for reason, lines in batch.reasons.items():
            self._rejected_lines.labels(reason).inc(lines)

    def set_store_size(self, watches: int, ratings: int, size_bytes: int) -> None:
        """Set the number of rows and the size of the store."""
        self._store_rows.labels("watches").set(watches)
        self._store_rows.labels("ratings").set(ratings)
        self._store_bytes.set(size_bytes)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"marquee_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"marquee_{name}", text, labels, registry=self.registry)
