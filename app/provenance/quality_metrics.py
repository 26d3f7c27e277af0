"""Export the newest online quality in the database to Prometheus."""

import math
import time
from collections.abc import Iterator
from threading import Lock, Thread

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.provenance.tables import quality

#: The database is read at most this often.
_CACHE_SECONDS = 60.0
_LABELS = ("version", "production_version", "horizon", "value")
#: Columns that are exported, and what they mean.
_GAUGES = {
    "candidate": "Mean per answer of the version.",
    "production": "Mean per answer of the version in production.",
    "difference": "The version's mean minus that in production, paired within users.",
    "standard_error": "Standard error of the difference, by users.",
    "candidate_answers": "Answers of the version that were counted.",
}


class QualityCollector(Collector):
    """The rows of the last computation; none while the database cannot be reached.

    Args:
        engine: of the database, not that of the shipper's inserts.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._rows: list[dict[str, object]] = []
        self._read_at = -math.inf
        self._reading = Lock()

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: the database is not read at registration."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a gauge for each column, and the time of the computation, as read last.

        The database is read in a thread: while it is away, the shipper's other metrics, among them
        those that say so, must not wait for its time-outs.
        """
        is_due = time.monotonic() - self._read_at >= _CACHE_SECONDS
        if is_due and self._reading.acquire(blocking=False):
            Thread(target=self._refresh, name="quality-metrics", daemon=True).start()
        if not self._rows:
            return
        for name, description in _GAUGES.items():
            gauge = GaugeMetricFamily(f"marquee_quality_{name}", description, labels=_LABELS)
            for row in self._rows:
                labels = ("candidate_version", *_LABELS[1:])
                value = row[name]
                if isinstance(value, int | float):
                    gauge.add_metric([str(row[label]) for label in labels], float(value))
            yield gauge
        yield GaugeMetricFamily(
            "marquee_quality_computed_timestamp_seconds",
            "When the online quality was last computed.",
            float(str(self._rows[0]["computed_at_us"])) / 1e6,
        )

    def _refresh(self) -> None:
        try:
            self._rows, self._read_at = self._read(), time.monotonic()
        finally:
            self._reading.release()

    def _read(self) -> list[dict[str, object]]:
        newest = sa.select(sa.func.max(quality.c.computed_at_us)).scalar_subquery()
        query = sa.select(quality).where(quality.c.computed_at_us == newest)
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except SQLAlchemyError:  # the shipper's own metrics tell that the database is away
            return []
