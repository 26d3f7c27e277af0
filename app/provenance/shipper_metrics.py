"""What Prometheus learns of the queue and of the shipper."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.provenance.spool_reader import Backlog
from app.provenance.spool_size import QueueLength


class ShipperMetrics:
    """The metrics of one shipper, in a registry of its own."""

    def __init__(self, backlog: Backlog) -> None:
        self.registry = CollectorRegistry()
        self._written = Counter(
            "marquee_provenance_records_written_total",
            "Records in the database (a record sent twice counts twice).",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "marquee_shipper_batch_duration_seconds",
            "Time of a batch's transaction.",
            registry=self.registry,
        )
        self._failures = Counter(
            "marquee_shipper_failures_total",
            "Attempts that failed and are made again, by what failed.",
            ["failed"],
            registry=self.registry,
        )
        for where in ("database", "queue"):
            self._failures.labels(where)
        self._torn = Gauge(
            "marquee_provenance_records_torn",
            "Segments whose end was torn since the shipper started.",
            registry=self.registry,
        )
        self._contradictions = Counter(
            "marquee_provenance_version_conflicts_total",
            "Models that came with a version number another model had.",
            registry=self.registry,
        )
        self._last = Gauge(
            "marquee_shipper_last_success_timestamp_seconds",
            "When a batch was last written.",
            registry=self.registry,
        )
        self.beat = time.monotonic()
        self.registry.register(_Queue(backlog))

    def alive(self) -> None:
        """The loop goes round."""
        self.beat = time.monotonic()

    def written(self, records: int, seconds: float) -> None:
        """A batch is in the database."""
        self._written.inc(records)
        self._seconds.observe(seconds)
        self._last.set_to_current_time()

    def failed(self, where: str) -> None:
        """An attempt failed, at the `database` or at the `queue`."""
        self._failures.labels(where).inc()

    def torn(self, segments: int) -> None:
        """So many segments had a torn end."""
        self._torn.set(segments)

    def contradicted(self) -> None:
        """A version number stands for two models."""
        self._contradictions.inc()


class _Queue(Collector):
    """Looks into the queue when it is asked."""

    def __init__(self, backlog: Backlog) -> None:
        self._length = QueueLength(backlog)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        length = self._length.measure()
        yield GaugeMetricFamily(
            "marquee_provenance_spool_bytes",
            "Records that wait for the database, in bytes.",
            length.bytes,
        )
        yield GaugeMetricFamily(
            "marquee_provenance_spool_records",
            "Records that wait for the database.",
            length.records,
        )
        yield GaugeMetricFamily(
            "marquee_provenance_spool_oldest_seconds",
            "Age of the oldest record that waits; 0 when none does.",
            length.oldest_seconds,
        )
