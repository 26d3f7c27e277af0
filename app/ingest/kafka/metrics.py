"""What Prometheus learns of the collector."""

from collections import Counter as Counts
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from app import logs
from app.ingest.log_parser import REASONS

KINDS = ("watches", "ratings", "recommendations", "accounts", "rejected")


class StreamMetrics:
    """The metrics of one collector, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lines = self._counter("ingest_lines", "Lines taken from the stream, by kind.", "kind")
        self._refused = self._counter(
            "ingest_lines_rejected", "Damaged lines, by reason.", "reason"
        )
        for kind in KINDS:
            self._lines.labels(kind)
        for reason in REASONS:
            self._refused.labels(reason)
        self.repaired = self._counter(
            "ingest_lines_repaired",
            "Lines whose movie id is put right on reading, as far as known.",
        )
        self.missed = self._counter(
            "kafka_messages_lost", "Lines the broker deleted before they were taken."
        )
        self.failures = self._counter("kafka_failures", "Times the broker did not answer.")
        self.configured = self._gauge("kafka_configured", "Whether there is a broker to follow.")
        self.connected = self._gauge("kafka_connected", "Whether the broker answers.")
        self.lag = self._gauge("kafka_consumer_lag", "Lines that wait at the broker.")
        self.delay = self._gauge(
            "ingest_delay_seconds",
            "How long the oldest line of the last commit took from its producer to the store.",
        )
        self.beat = self._gauge(
            "collector_heartbeat_timestamp_seconds", "When the loop last went round."
        )
        self.committed = self._gauge("collector_last_commit_timestamp_seconds", "The last commit.")
        self.commit_seconds = self._gauge(
            "collector_commit_interval_seconds", "How long that commit took."
        )
        self._rows = self._gauge(
            "store_rows", "Rows of the store, one per user and movie.", "table"
        )
        self._bytes = self._gauge("store_bytes", "Size of the store's files.")
        self.expired = self._counter("store_expired_rows", "Rows that were older than is kept.")

    def count(self, counts: Counts[str], reasons: Counts[str]) -> None:
        """Lines were taken: how many of each kind, and the damaged by reason."""
        for kind in KINDS:
            self._lines.labels(kind).inc(counts[kind])
        for reason, lines in reasons.items():
            self._refused.labels(reason).inc(lines)

    def measured(self, watches: int, ratings: int, size: int) -> None:
        """The store was looked at."""
        self._rows.labels("watches").set(watches)
        self._rows.labels("ratings").set(ratings)
        self._bytes.set(size)

    def serve(self, bind: str) -> WSGIServer | None:
        """Answer `/metrics` in a thread of its own; without the port, collecting goes on."""
        host, _, port = bind.rpartition(":")
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        try:
            server, _ = prometheus_client.start_http_server(int(port), host, self.registry)
        except OSError as error:
            why = error.strerror
            logs.get(__name__).error("no metrics: cannot listen", address=bind, why=why)
            return None
        return server

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"marquee_{name}_total", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"marquee_{name}", text, labels, registry=self.registry)
