"""`marquee follow`: follow the Kafka stream into the file of recent activity.

It reads the stream beside the collector, with positions of its own, which are committed with the
events. A restart loses no message and counts none twice.
"""

import time
from collections import Counter
from threading import Event
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from app import logs
from app.http_server import create_app, start_server
from app.ingest.kafka.connection import ClientErrors, connection_options
from app.ingest.kafka.consumer import UNAVAILABLE_ERRORS, TopicConsumer
from app.ingest.store_files import lock_directory
from app.recent_activity.errors import RecentActivityError
from app.recent_activity.file_follower import open_table, summarize
from app.recent_activity.follower_metrics import FollowerMetrics
from app.recent_activity.table_format import TableError
from app.recent_activity.table_updater import TableUpdater
from app.recent_activity.table_writer import NumberingFullError
from app.settings import Settings
from app.settings_watch import SettingsWatch
from app.shutdown import stop_event

#: Group of the positions that are committed to Kafka for lag tools.
GROUP_ID = "marquee-follower"
_TOPIC_CHECK_INTERVAL_SECONDS = 5.0
#: A connection that lasts as long counts as stable; also the interval of idle heartbeats.
_CHECK_INTERVAL_SECONDS = 15.0
_MAX_RECONNECT_WAIT_SECONDS = 10.0
_LOG_INTERVAL_SECONDS = 60.0

_log = logs.get(__name__)


def run_follower(settings: Settings, duration_seconds: float | None) -> dict[str, Any]:
    """Follow the topic until SIGTERM or SIGINT, or for a duration; serve `/metrics` and `/health`.

    Returns:
        The summary that `marquee follow` prints; empty where no broker is configured.

    Raises:
        IngestError: the event store is damaged, or the file has another writer.
        OSError: the file cannot be written.
        RecentActivityError: no broker responded within the duration.
    """
    stop, started = stop_event(), time.perf_counter()
    watch = SettingsWatch(settings, stop)
    if duration_seconds is None:
        watch.start()
    metrics = FollowerMetrics(settings.recent_dir)
    metrics.configured.set(bool(settings.kafka_servers))
    server = start_server(settings.follower_bind, create_app(metrics.registry, metrics.is_alive))
    try:
        if not settings.kafka_servers:
            _log.info("idle: no broker is configured (MARQUEE_KAFKA_SERVERS)")
            while not stop.wait(_CHECK_INTERVAL_SECONDS):
                metrics.record_heartbeat()
            return {}
        follower = StreamFollower(settings, metrics, stop)
        with lock_directory(settings.recent_dir, "the recent activity"):
            follower.run(duration_seconds)
    finally:
        if server:
            server.stop()
        if duration_seconds is None:
            watch.restart_if_changed()
    if duration_seconds is not None and not follower.was_connected:
        raise RecentActivityError(
            f"no broker with {settings.kafka_topic} at {settings.kafka_servers}: "
            f"{follower.last_error}"
        )
    return summarize(follower.counts, follower.users, started)


class StreamFollower:
    """Follows one topic into one file.

    Attributes:
        counts: number of lines, and of each kind; see `ParsedBatch`.
        users: users in the file after the last commit.
        was_connected: whether a broker has responded.
        last_error: why the last connection failed.
    """

    def __init__(self, settings: Settings, metrics: FollowerMetrics, stop: Event) -> None:
        self.counts = Counter[str]()
        self.users = 0
        self.was_connected = False
        self.last_error = ""
        self._settings = settings
        self._connection = connection_options(settings)
        self._client_errors = ClientErrors(is_logged=settings.log_level == "debug")
        self._metrics = metrics
        self._stop = stop
        self._end_at = float("inf")
        self._oldest_time: float | None = None

    def run(self, duration_seconds: float | None = None) -> None:
        """Follow until the stop event is set, or for a duration.

        A file that turns out to be damaged is opened again, which refuses it and fills a new one.
        """
        if duration_seconds is not None:
            self._end_at = time.monotonic() + duration_seconds
        while not self._is_over():
            with open_table(self._settings, self._metrics) as table:
                directory = self._settings.recent_dir
                updater = TableUpdater(self._settings, directory, table, self._metrics, self.counts)
                try:
                    self._follow(updater)
                except (TableError, NumberingFullError) as error:
                    _log.error("opening the file of recent activity again", reason=str(error))
                self.users = table.users

    def _follow(self, updater: TableUpdater) -> None:
        """Consume until the end; reconnect when needed.

        Raises:
            TableError, NumberingFullError: the file must be opened again.
        """
        connect = Retrying(
            retry=retry_if_exception_type(UNAVAILABLE_ERRORS),
            wait=wait_exponential(max=_MAX_RECONNECT_WAIT_SECONDS),
            stop=lambda _: self._is_over(),
            sleep=self._sleep,
            after=self._report_failed_connection,
            retry_error_callback=lambda _: None,
        )
        while not self._is_over():
            connect(self._connect_and_consume, updater)

    def _connect_and_consume(self, updater: TableUpdater) -> None:
        """Consume until the end, or until a stable connection is lost.

        Raises:
            KafkaError, TopicError: no connection, or one that was lost at once.
        """
        self._metrics.record_heartbeat()
        topic, offsets = self._settings.kafka_topic, updater.table.state.offsets
        with TopicConsumer(self._connection, topic, offsets, GROUP_ID) as consumer:
            connected_at = time.monotonic()
            servers = self._settings.kafka_servers
            _log.info("following", topic=topic, servers=servers, offsets=consumer.offsets)
            self.was_connected = True
            self._client_errors.clear()
            self._metrics.messages_lost.inc(consumer.messages_lost)
            self._metrics.connected.set(1)
            try:
                self._consume(consumer, updater)
            except UNAVAILABLE_ERRORS as error:
                self._commit(consumer, updater)  # messages polled before the error are valid
                if time.monotonic() - connected_at < _CHECK_INTERVAL_SECONDS:
                    raise
                reason = self._client_errors.explain(error)
                _log.warning("lost the connection to the broker", error=reason)
                self._count_failure()
            else:
                self._commit(consumer, updater)

    def _consume(self, consumer: TopicConsumer, updater: TableUpdater) -> None:
        check_at = logged_at = time.monotonic()
        while not self._is_over():
            polled = consumer.poll(updater.seconds_left)
            if polled is not None:
                updater.add_lines(polled.lines)
                oldest = self._oldest_time or polled.oldest_time
                self._oldest_time = min(polled.oldest_time, oldest)
            self._metrics.record_heartbeat()
            self._metrics.consumer_lag.set(consumer.lag)
            if updater.is_due:
                self._commit(consumer, updater)
            now = time.monotonic()
            if now >= check_at + _TOPIC_CHECK_INTERVAL_SECONDS:
                consumer.check_topic()
                check_at = time.monotonic()
            if now >= logged_at + _LOG_INTERVAL_SECONDS:
                _log.info("followed", lines=self.counts["lines"], lag=consumer.lag)
                logged_at = now

    def _commit(self, consumer: TopicConsumer, updater: TableUpdater) -> None:
        if not updater.commit(consumer.offsets):
            return
        if self._oldest_time is not None:
            self._metrics.delay_seconds.set(max(0.0, time.time() - self._oldest_time))
        self._oldest_time = None
        consumer.commit_group_offsets()

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
        self._metrics.record_heartbeat()
        self._stop.wait(min(seconds, max(0.0, self._end_at - time.monotonic())))

    def _is_over(self) -> bool:
        return self._stop.is_set() or time.monotonic() >= self._end_at
