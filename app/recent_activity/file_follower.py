"""`marquee follow --file`: read a log into the file of recent activity.

It needs no Kafka client, which the requirements of `make run` do not have.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from threading import Event
from typing import Any

from app.ingest.batch_parser import LINE_KINDS
from app.ingest.errors import IngestError
from app.ingest.line_reader import STDIN, LineReader, wait_for_input
from app.ingest.store_files import lock_directory
from app.recent_activity.errors import RecentActivityError
from app.recent_activity.follower_metrics import FollowerMetrics
from app.recent_activity.store_import import has_store, import_store
from app.recent_activity.table_directory import TableLimits, open_current_table
from app.recent_activity.table_updater import TableUpdater
from app.recent_activity.table_writer import TableWriter
from app.settings import Settings


def follow_files(names: list[str], settings: Settings, stop: Event) -> dict[str, Any]:
    """Read log files into the file, pipes as their lines arrive; return the summary.

    Args:
        names: paths, or `-` for standard input.
        settings: all settings.
        stop: ends the reading; the lines read so far are committed.

    Raises:
        IngestError: a file cannot be read to its end (its lines up to there are committed), the
            event store is damaged, or another process writes the recent activity.
        OSError: the file cannot be written.
        RecentActivityError: no line is an event of a movie.
        TableError, NumberingFullError: the file must be opened again, by another run.
    """
    started, counts, directory = time.perf_counter(), Counter[str](), settings.recent_dir
    metrics = FollowerMetrics(directory)
    with (
        lock_directory(directory, "the recent activity"),
        open_table(settings, metrics) as table,
    ):
        updater = TableUpdater(settings, directory, table, metrics, counts)
        for name in names:
            _read_file(name, updater, stop)
        users = table.users
    if not (stop.is_set() or counts["watches"] or counts["ratings"]):
        raise RecentActivityError(
            f"{', '.join(names)}: none of {counts['lines']:,} lines is a watch or a rating"
        )
    return summarize(counts, users, started)


def _read_file(name: str, updater: TableUpdater, stop: Event) -> None:
    # None: closed by `<&-`, which LineReader reports.
    while name == STDIN and sys.stdin and not wait_for_input(sys.stdin, updater.seconds_left):
        updater.commit()
        if stop.is_set():
            return
    with LineReader(name) as reader:
        try:
            for lines in reader.read_available_lines():
                updater.add_lines(lines)
                while updater.is_due or not reader.wait(updater.seconds_left):
                    updater.commit()
                    if stop.is_set():
                        return
        except IngestError:
            updater.commit()
            raise
    updater.commit()


def open_table(settings: Settings, metrics: FollowerMetrics) -> AbstractContextManager[TableWriter]:
    """Open the file, or a new one that is filled from the event store.

    Raises:
        IngestError: the event store is damaged.
        OSError: the file cannot be written.
    """
    fill = partial(_fill, settings, metrics)
    limits = TableLimits.from_settings(settings)
    return open_current_table(settings.recent_dir, limits, fill, metrics.count_refused)


def _fill(settings: Settings, metrics: FollowerMetrics, table: TableWriter) -> Mapping[str, Any]:
    """Fill a new file from the event store, if there is one; return the positions."""
    if not has_store(settings.store_dir):
        return {}
    return import_store(settings.store_dir, table, metrics.record_heartbeat)


def summarize(counts: Counter[str], users: int, started: float) -> dict[str, Any]:
    """Return the summary of a run that began at `started` (`perf_counter`, seconds)."""
    seconds = time.perf_counter() - started
    return {
        **{kind: counts[kind] for kind in ("lines", *LINE_KINDS)},
        "users": users,
        "seconds": round(seconds, 3),
        "lines_per_second": round(counts["lines"] / seconds),
    }
