"""The metrics of the shipper and of the spool it reads."""

import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.provenance.quarantine import KINDS, Quarantine, Reason
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_size import SpoolSize
from app.volume_metrics import VolumeMetrics

#: What can fail: the label `failed` of `marquee_shipper_failures_total`.
DATABASE, SPOOL = "database", "spool"
#: The shipper's loop runs at least this often unless it hangs.
_MAX_HEARTBEAT_AGE_SECONDS = 180


class ShipperMetrics:
    """The metrics of one shipper, in a registry of its own."""

    def __init__(self, reader: SpoolReader, volumes: Mapping[str, Path] | None = None) -> None:
        """Create the metrics.

        Args:
            reader: of the spool.
            volumes: directories of further volumes to measure, by name.
        """
        self.registry = CollectorRegistry()
        self.registry.register(VolumeMetrics({"spool": reader.directory, **(volumes or {})}))
        self._written = Counter(
            "marquee_provenance_records_written_total",
            "Records written to the database (a record sent twice counts twice).",
            registry=self.registry,
        )
        self._batch_duration = Histogram(
            "marquee_shipper_batch_duration_seconds",
            "Duration of a batch's transaction.",
            registry=self.registry,
        )
        self._failures = Counter(
            "marquee_shipper_failures_total",
            "Failed attempts to ship, each retried, by what failed.",
            ["failed"],
            registry=self.registry,
        )
        for failed in (DATABASE, SPOOL):
            self._failures.labels(failed)
        self._torn = Gauge(
            "marquee_provenance_records_torn",
            "Segments whose end was torn since the shipper started.",
            registry=self.registry,
        )
        self._version_conflicts = Counter(
            "marquee_provenance_version_conflicts_total",
            "Models with a version number that another model had before.",
            registry=self.registry,
        )
        self._last_success = Gauge(
            "marquee_shipper_last_success_timestamp_seconds",
            "Time of the last written batch.",
            registry=self.registry,
        )
        self._heartbeat = time.monotonic()
        self.registry.register(_SpoolCollector(reader))
        self.registry.register(_QuarantineCollector(reader.quarantine))

    def heartbeat(self) -> None:
        """Note that the loop runs."""
        self._heartbeat = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the loop has run lately."""
        return time.monotonic() - self._heartbeat < _MAX_HEARTBEAT_AGE_SECONDS

    def batch_written(self, records: int, duration_seconds: float) -> None:
        """Count a batch that was committed."""
        self._written.inc(records)
        self._batch_duration.observe(duration_seconds)
        self._last_success.set_to_current_time()

    def attempt_failed(self, failed: str) -> None:
        """Count a failed attempt, of the `DATABASE` or the `SPOOL`."""
        self._failures.labels(failed).inc()

    def set_torn_segments(self, segments: int) -> None:
        """Set the number of segments whose end was torn."""
        self._torn.set(segments)

    def version_conflict(self) -> None:
        """Count a version number that two models have."""
        self._version_conflicts.inc()


class _SpoolCollector(Collector):
    """Measures the spool at each scrape."""

    def __init__(self, reader: SpoolReader) -> None:
        self._size = SpoolSize(reader)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        backlog = self._size.measure()
        yield GaugeMetricFamily(
            "marquee_provenance_spool_bytes",
            "Bytes of the records that wait for the database.",
            backlog.bytes,
        )
        yield GaugeMetricFamily(
            "marquee_provenance_spool_records",
            "Records that wait for the database.",
            backlog.records,
        )
        yield GaugeMetricFamily(
            "marquee_provenance_spool_oldest_seconds",
            "Age of the oldest record that waits; 0 without any.",
            backlog.oldest_age_seconds,
        )


class _QuarantineCollector(Collector):
    """Measures the quarantine at each scrape."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    def collect(self) -> Iterator[Metric]:
        added = CounterMetricFamily(
            "marquee_provenance_quarantined_files",
            "Files of the spool that could not be read, by kind and reason.",
            labels=["kind", "reason"],
        )
        for kind, reason in product(KINDS, get_args(Reason)):
            added.add_metric([kind, reason], self._quarantine.added[kind, reason])
        yield added
        yield CounterMetricFamily(
            "marquee_provenance_quarantine_removed_files",
            "Files that were removed from the quarantine because it was full or they too old.",
            self._quarantine.removed,
        )
        files, size = self._quarantine.measure()
        yield GaugeMetricFamily(
            "marquee_provenance_quarantine_files", "Files in the quarantine.", files
        )
        yield GaugeMetricFamily(
            "marquee_provenance_quarantine_bytes", "Bytes of the files in the quarantine.", size
        )
