"""`marquee collect` without files: consume the Kafka topic into the store until stopped.

Events and the offsets after them are committed in one atomic step of the store. So a restart of
this process or of the broker loses no message and counts none twice.
"""

import time
from threading import Event
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from app import logs
from app.http_server import create_app, start_server
from app.ingest.errors import IngestError
from app.ingest.event_buffer import EventBuffer
from app.ingest.id_repair import find_repairs_of
from app.ingest.ingest_files import summarize_lines
from app.ingest.kafka.connection import ClientErrors, connection_options
from app.ingest.kafka.consumer import UNAVAILABLE_ERRORS, PolledLines, TopicConsumer
from app.ingest.kafka.metrics import CollectorMetrics
from app.ingest.log_parser import RatingScale
from app.ingest.metadata.refresher import MetadataRefresher
from app.ingest.retention import drop_expired_rows
from app.ingest.store_reader import open_store
from app.ingest.store_stats import count_rows
from app.ingest.store_writer import StoreWriter, open_writer
from app.ingest.time_limits import TimeLimits
from app.settings import Settings
from app.settings_watch import SettingsWatch
from app.shutdown import stop_event

_POLL_TIMEOUT_SECONDS = 0.5
#: How often the topic is checked for changes.
_TOPIC_CHECK_INTERVAL_SECONDS = 5.0
#: A connection that lasts as long counts as stable; also the interval of idle heartbeats.
_CHECK_INTERVAL_SECONDS = 15.0
_LOG_INTERVAL_SECONDS = 60.0
_MAINTENANCE_INTERVAL_SECONDS = 3600.0
_MAX_RECONNECT_WAIT_SECONDS = 10.0
#: Events of a commit, all of which are held in memory while the collector catches up.
_MAX_BUFFERED_EVENTS = 250_000

_log = logs.get(__name__)


def run_collector(settings: Settings, duration_seconds: float | None) -> dict[str, Any]:
    """Consume until SIGTERM or SIGINT, or for a duration; serve `/metrics` and `/health`.

    Returns:
        The summary that `marquee collect` prints; empty where no broker is configured.

    Raises:
        IngestError: the store cannot be written or has another writer, or no broker responded
            within the duration.
    """
    started = time.perf_counter()
    stop = stop_event()
    watch = SettingsWatch(settings, stop)
    if duration_seconds is None:
        watch.start()
    metrics = CollectorMetrics(settings.store_dir)
    metrics.configured.set(bool(settings.kafka_servers))
    server = start_server(settings.collector_bind, create_app(metrics.registry, metrics.is_alive))
    try:
        if not settings.kafka_servers:
            _idle(metrics, stop)
            return {}
        with open_writer(settings.store_dir) as writer:
            if duration_seconds is None:
                MetadataRefresher(settings, metrics.registry, stop).start()
            collector = Collector(settings, writer, metrics, stop)
            collector.run(duration_seconds)
    finally:
        if server:
            server.stop()
        if duration_seconds is None:
            watch.restart_if_changed()
    if duration_seconds is not None and not collector.was_connected:
        raise IngestError(
            f"no broker with {settings.kafka_topic} at {settings.kafka_servers}: "
            f"{collector.last_error}"
        )
    return summarize_lines(collector.buffer, collector.repaired_lines, collector.pairs, started)


def _idle(metrics: CollectorMetrics, stop: Event) -> None:
    _log.info("idle: no broker is configured (MARQUEE_KAFKA_SERVERS)")
    while not stop.wait(_CHECK_INTERVAL_SECONDS):
        metrics.record_heartbeat()


class Collector:
    """Consumes one topic into one store.

    Attributes:
        buffer: parsed events that are not committed yet, and the counts of all lines.
        repaired_lines: lines whose movie id can be repaired.
        pairs: rows of watches in the store.
        was_connected: whether a broker has responded.
        last_error: why the last connection failed.
    """

    def __init__(
        self, settings: Settings, writer: StoreWriter, metrics: CollectorMetrics, stop: Event
    ) -> None:
        scale = RatingScale(settings.rating_min, settings.rating_max)
        times = TimeLimits.from_settings(settings)
        self.buffer = EventBuffer(writer, scale, _MAX_BUFFERED_EVENTS, times)
        self.repaired_lines = self.pairs = 0
        self.was_connected = False
        self.last_error = ""
        self._client_errors = ClientErrors(is_logged=settings.log_level == "debug")
        self._settings = settings
        self._connection = connection_options(settings)
        self._writer = writer
        self._metrics = metrics
        self._stop = stop
        self._end_at = float("inf")
        self._oldest_time: float | None = None
        self._commit_at = self._maintain_at = 0.0

    def run(self, duration_seconds: float | None = None) -> None:
        """Consume until the stop event is set, or for a duration; reconnect when needed."""
        if duration_seconds is not None:
            self._end_at = time.monotonic() + duration_seconds
        self._metrics.set_last_commit(self._writer.path)
        self._maintain_store()
        self._maintain_at = time.monotonic() + _CHECK_INTERVAL_SECONDS
        connect = Retrying(
            retry=retry_if_exception_type(UNAVAILABLE_ERRORS),
            wait=wait_exponential(max=_MAX_RECONNECT_WAIT_SECONDS),
            stop=lambda _: self._is_over(),
            sleep=self._sleep,
            after=self._report_failed_connection,
            retry_error_callback=lambda _: None,
        )
        while not self._is_over():
            connect(self._connect_and_consume)
        self._maintain_store()

    def _connect_and_consume(self) -> None:
        """Consume until the end, or until a stable connection is lost.

        Raises:
            KafkaError, TopicError: no connection, or one that was lost at once.
        """
        self._metrics.record_heartbeat()
        servers, topic = self._settings.kafka_servers, self._settings.kafka_topic
        with TopicConsumer(self._connection, topic, self._writer.manifest.offsets) as consumer:
            connected_at = time.monotonic()
            _log.info("consuming", topic=topic, servers=servers, offsets=consumer.offsets)
            self.was_connected = True
            self._client_errors.clear()
            self._metrics.count_lost_messages(consumer.messages_lost)
            self._metrics.connected.set(1)
            try:
                self._consume(consumer)
            except UNAVAILABLE_ERRORS as error:
                self._commit(consumer)  # events polled before the error are valid
                if time.monotonic() - connected_at < _CHECK_INTERVAL_SECONDS:
                    raise
                reason = self._client_errors.explain(error)
                _log.warning("lost the connection to the broker", error=reason)
                self._count_failure()
            else:
                self._commit(consumer)

    def _consume(self, consumer: TopicConsumer) -> None:
        now = time.monotonic()
        check_at, logged_at, logged_lines = now + _TOPIC_CHECK_INTERVAL_SECONDS, now, 0
        self._commit_at = now + self._settings.collector_commit_interval_seconds
        while not self._is_over():
            self._add_lines(consumer.poll(_POLL_TIMEOUT_SECONDS))
            now = time.monotonic()
            self._metrics.record_heartbeat()
            self._metrics.consumer_lag.set(consumer.lag)
            self._metrics.uncommitted_messages.set(consumer.uncommitted)
            if self.buffer.is_full or now >= self._commit_at:
                self._commit(consumer)
                self._maintain_store_if_due(now)
            if now >= check_at:
                consumer.check_topic()
                check_at = time.monotonic() + _TOPIC_CHECK_INTERVAL_SECONDS
            if now >= logged_at + _LOG_INTERVAL_SECONDS:
                total = self.buffer.counts["lines"]
                _log.info("consumed", lines=total - logged_lines, lag=consumer.lag, total=total)
                logged_at, logged_lines = now, total

    def _add_lines(self, polled: PolledLines | None) -> None:
        if polled is None:
            return
        self._metrics.count_lines(self.buffer.add_lines(polled.lines))
        self._oldest_time = min(polled.oldest_time, self._oldest_time or polled.oldest_time)

    def _commit(self, consumer: TopicConsumer) -> None:
        self._commit_at = time.monotonic() + self._settings.collector_commit_interval_seconds
        offsets = {**self._writer.manifest.offsets, **consumer.offsets}
        if offsets == self._writer.manifest.offsets:
            return
        started = time.monotonic()
        self.buffer.flush(offsets)
        self._metrics.commit_duration_seconds.set(time.monotonic() - started)
        self._metrics.last_commit.set_to_current_time()
        if self._oldest_time is not None:
            self._metrics.delay_seconds.set(max(0.0, time.time() - self._oldest_time))
        self._oldest_time = None
        consumer.commit_group_offsets()

    def _maintain_store_if_due(self, now: float) -> None:
        if now >= self._maintain_at:
            self._maintain_store()
            self._maintain_at = time.monotonic() + _MAINTENANCE_INTERVAL_SECONDS

    def _maintain_store(self) -> None:
        """Apply the retention, measure the store, and count the lines that can be repaired now."""
        self._metrics.expired_rows.inc(
            drop_expired_rows(self._writer, self._settings.store_retention_days)
        )
        with open_store(self._writer.path) as snapshot:
            counts = count_rows(snapshot)
        repairs = find_repairs_of(self.buffer.events_by_movie, counts.users_by_movie)
        repaired = self.buffer.count_repaired(repairs)
        self.buffer.events_by_movie.clear()  # corrupted ids would accumulate in memory
        self.repaired_lines += repaired
        self._metrics.repaired_lines.inc(repaired)
        files = [self._writer.path / name for name in self._writer.manifest.segment_names]
        size_bytes = sum(file.stat().st_size for file in files)
        self._metrics.set_store_size(counts.watches, counts.ratings, size_bytes)
        self.pairs = counts.watches

    def _report_failed_connection(self, state: RetryCallState) -> None:
        self._count_failure()
        error = state.outcome.exception() if state.outcome else None
        self.last_error = self._client_errors.explain(error)
        if state.attempt_number == 1:
            servers = self._settings.kafka_servers
            _log.warning("waiting for the broker", servers=servers, error=self.last_error)

    def _count_failure(self) -> None:
        self._metrics.connected.set(0)
        self._metrics.connection_failures.inc()

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(min(seconds, self._seconds_left()))

    def _seconds_left(self) -> float:
        return max(0.0, self._end_at - time.monotonic())

    def _is_over(self) -> bool:
        return self._stop.is_set() or not self._seconds_left()
