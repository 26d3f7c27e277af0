"""`marquee collect` without files: follows the topic until told to stop.

Lines gather and are committed together with the positions after them, in one step of the store: so
a restart, of this process or of the broker, loses nothing and takes nothing twice.
"""

import time
from threading import Event

from app import logs
from app.ingest.event_buffer import EventBuffer
from app.ingest.id_repair import find_repairs
from app.ingest.kafka.consumer import AWAY, Lines, Topic
from app.ingest.kafka.metrics import StreamMetrics
from app.ingest.log_parser import RatingScale
from app.ingest.retention import drop_expired_rows
from app.ingest.store_reader import open_store
from app.ingest.store_stats import count_rows
from app.ingest.store_writer import StoreWriter
from app.settings import Settings

_POLL_SECONDS = 0.5
_CHECK_SECONDS = 15.0
_TOLD_SECONDS = 60.0
_UPKEEP_SECONDS = 3600.0
_LONGEST_WAIT = 10.0
#: Events of one commit at most: while it catches up, that many are held in memory.
_BATCH_EVENTS = 250_000

_log = logs.get(__name__)


class Follower:
    """Follows one topic into one store."""

    def __init__(
        self, settings: Settings, writer: StoreWriter, metrics: StreamMetrics, stop: Event
    ) -> None:
        self.collector = EventBuffer(
            writer, RatingScale(settings.rating_min, settings.rating_max), _BATCH_EVENTS
        )
        self.repaired = self.pairs = 0
        self.seen_broker = False
        self._settings = settings
        self._writer = writer
        self._metrics = metrics
        self._stop = stop
        self._end = float("inf")
        self._oldest: float | None = None
        self._commit_at = self._upkeep_at = 0.0

    def run(self, seconds: float | None = None) -> None:
        """Follow until told to stop, or so many seconds; wait for a broker that is away."""
        if seconds is not None:
            self._end = time.monotonic() + seconds
        self._look_after()
        self._upkeep_at = time.monotonic() + _CHECK_SECONDS
        failures = 0
        while not self._over():
            since = time.monotonic()
            try:
                self._open_and_follow()
            except AWAY as error:
                failures = failures + 1 if time.monotonic() - since < _CHECK_SECONDS else 1
                self._away(error, failures)
        self._look_after()

    def _open_and_follow(self) -> None:
        self._metrics.beat.set_to_current_time()
        servers, name = self._settings.kafka_servers, self._settings.kafka_topic
        with Topic(servers, name, self._writer.manifest.offsets) as topic:
            _log.info("following the stream", servers=servers, positions=topic.positions)
            self.seen_broker = True
            self._metrics.missed.inc(topic.missed)
            self._metrics.connected.set(1)
            try:
                self._follow(topic)
            except AWAY:
                # What was taken is sound even where the broker has gone meanwhile.
                self._commit(topic)
                raise
            self._commit(topic)

    def _follow(self, topic: Topic) -> None:
        now = time.monotonic()
        check_at, told_at, told_lines = now + _CHECK_SECONDS, now, 0
        self._commit_at = now + self._settings.collector_commit_interval_seconds
        while not self._over():
            self._take(topic.take(_POLL_SECONDS))
            now = time.monotonic()
            self._metrics.beat.set_to_current_time()
            self._metrics.lag.set(topic.lag)
            if self.collector.is_full or now >= self._commit_at:
                self._commit(topic)
                self._keep_up(now)
            if now >= check_at:
                topic.check()
                check_at = time.monotonic() + _CHECK_SECONDS
            if now >= told_at + _TOLD_SECONDS:
                lines = self.collector.counts["lines"]
                _log.info("collected", lines=lines - told_lines, lag=topic.lag, of_all=lines)
                told_at, told_lines = now, lines

    def _take(self, taken: Lines | None) -> None:
        if taken is None:
            return
        block = self.collector.add_lines(taken.lines)
        self._metrics.count(block.counts, block.reasons)
        self._oldest = min(taken.oldest, self._oldest or taken.oldest)

    def _commit(self, topic: Topic) -> None:
        self._commit_at = time.monotonic() + self._settings.collector_commit_interval_seconds
        positions = {**self._writer.manifest.offsets, **topic.positions}
        if positions == self._writer.manifest.offsets:
            return
        started = time.monotonic()
        self.collector.flush(positions)
        self._metrics.commit_seconds.set(time.monotonic() - started)
        self._metrics.committed.set_to_current_time()
        if self._oldest is not None:
            self._metrics.delay.set(max(0.0, time.time() - self._oldest))
        self._oldest = None
        topic.publish_positions()

    def _keep_up(self, now: float) -> None:
        if now >= self._upkeep_at:
            self._look_after()
            self._upkeep_at = time.monotonic() + _UPKEEP_SECONDS

    def _look_after(self) -> None:
        """Drop what is too old, measure the store, and count what it can repair by now."""
        self._metrics.expired.inc(
            drop_expired_rows(self._writer, self._settings.store_retention_days)
        )
        with open_store(self._writer.path) as view:
            counts = count_rows(view)
        repaired = self.collector.count_repaired(find_repairs(counts.users_by_movie))
        # Counted, so forgotten: damaged ids would otherwise gather for as long as this runs.
        self.collector.events_by_movie.clear()
        self.repaired += repaired
        self._metrics.repaired.inc(repaired)
        files = [self._writer.path / name for name in self._writer.manifest.segment_names]
        size = sum(file.stat().st_size for file in files)
        self._metrics.measured(counts.watches, counts.ratings, size)
        self.pairs = counts.watches

    def _away(self, error: Exception, failures: int) -> None:
        self._metrics.connected.set(0)
        self._metrics.failures.inc()
        if failures == 1:
            why = str(error) or type(error).__name__
            _log.warning("waiting for the broker", servers=self._settings.kafka_servers, why=why)
        self._stop.wait(min(_LONGEST_WAIT, 0.5 * 2 ** min(failures, 8), self._left()))

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def _over(self) -> bool:
        return self._stop.is_set() or not self._left()


def idle(metrics: StreamMetrics, stop: Event) -> None:
    """Wait, healthy, where no broker is configured."""
    _log.info("idle: no broker is configured (MARQUEE_KAFKA_SERVERS)")
    while not stop.wait(_CHECK_SECONDS):
        metrics.beat.set_to_current_time()
