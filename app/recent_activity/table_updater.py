"""Add the lines of a log to the file: parse them, merge their events, commit."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.ingest.batch_parser import parse_batch
from app.ingest.log_parser import RatingScale
from app.ingest.time_limits import TimeLimits
from app.recent_activity.follower_metrics import FollowerMetrics
from app.recent_activity.log_events import event_times, group_events
from app.recent_activity.removal import remove_requested_users
from app.recent_activity.table_writer import TableWriter
from app.recent_events import newest_time
from app.settings import Settings

#: Lines that are parsed and committed together while the follower catches up.
MAX_BUFFERED_LINES = 20_000
#: Without new lines, a commit tells that often that the file is up to date.
_IDLE_COMMIT_INTERVAL_SECONDS = 5.0
#: A pass over all buckets, which removes expired users, takes so long.
_SWEEP_SECONDS = 900.0


class TableUpdater:
    """Adds lines to one open file.

    Attributes:
        table: the file.
        counts: number of lines, and of each kind; see `ParsedBatch`.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        table: TableWriter,
        metrics: FollowerMetrics,
        counts: Counter[str],
    ) -> None:
        self.table = table
        self.counts = counts
        self._scale = RatingScale(settings.rating_min, settings.rating_max)
        self._times = TimeLimits.from_settings(settings)
        self._interval = settings.recent_commit_interval_seconds
        self._directory = directory
        self._metrics = metrics
        self._lines: list[str] = []
        self._idle_commit_at = self._swept_at = time.monotonic()
        self._commit_at = time.monotonic() + self._interval
        metrics.record_commit(table)

    @property
    def seconds_left(self) -> float:
        """Time until the next commit is due."""
        return max(0.0, self._commit_at - time.monotonic())

    @property
    def is_due(self) -> bool:
        """Whether a commit is due, by time or by the number of lines."""
        return len(self._lines) >= MAX_BUFFERED_LINES or time.monotonic() >= self._commit_at

    def add_lines(self, lines: list[str]) -> None:
        """Buffer lines until the next commit."""
        self._lines += lines

    def commit(self, offsets: Mapping[str, Any] | None = None) -> bool:
        """Commit the events of the buffered lines, and the positions after them.

        Without new lines or positions, it commits from time to time.

        Args:
            offsets: where to continue reading the stream; None: as before.

        Returns:
            Whether there was a commit.

        Raises:
            TableError, NumberingFullError: the file must be opened again.
            OSError: it cannot be written.
        """
        started = time.monotonic()
        self._commit_at = started + self._interval
        self._add_events()
        merged = {**self.table.state.offsets, **(offsets or {})}
        is_idle = not self.table.has_changes and merged == self.table.state.offsets
        if is_idle and started < self._idle_commit_at:
            return False
        self.table.commit(merged)
        self._idle_commit_at = started + _IDLE_COMMIT_INTERVAL_SECONDS
        self._metrics.count_requested(remove_requested_users(self._directory, self.table))
        self._metrics.commit_duration_seconds.set(time.monotonic() - started)
        self._metrics.record_commit(self.table)
        self._sweep(started)
        return True

    def _add_events(self) -> None:
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        batch = parse_batch(lines, self._scale, self._times.stream_range())
        self.counts.update(batch.counts)
        self._metrics.count_lines(batch)
        newest = newest_time(event_times(batch))
        if newest is not None:
            self.table.advance_time(int(newest))
        for user_id, events in group_events(batch, self.table.number_movie).items():
            self.table.add(user_id, events)

    def _sweep(self, now: float) -> None:
        buckets = self.table.layout.buckets
        due = int(buckets * (now - self._swept_at) / _SWEEP_SECONDS)
        if due:
            self.table.sweep(min(due, buckets))
            self._swept_at = now
