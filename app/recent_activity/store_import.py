"""Fill a new file from the event store, which has all events up to its own positions."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from app.ingest import patterns
from app.ingest.retention import newest_event_time
from app.ingest.store_files import read_manifest
from app.ingest.store_reader import StoreSnapshot, open_store
from app.recent_activity.log_events import to_stored_time
from app.recent_activity.table_format import NO_MINUTE, StoredEvent
from app.recent_activity.table_writer import TableWriter

_NAN = float("nan")


def has_store(store: Path) -> bool:
    """Return whether there is an event store.

    Raises:
        IngestError: there is a damaged one.
    """
    return read_manifest(store) is not None


def import_store(
    store: Path, table: TableWriter, on_progress: Callable[[], None]
) -> Mapping[str, Any]:
    """Add the newest movies of each user in the store; return the store's positions.

    Age counts from the newest events of the store, as for its retention.

    Args:
        store: directory of the store.
        table: an empty file.
        on_progress: called after each bucket of the store.

    Raises:
        IngestError: the store is damaged.
    """
    with open_store(store) as snapshot:
        newest = newest_event_time(snapshot)
        if newest is not None:
            table.advance_time(to_stored_time(newest))
            min_time = newest - timedelta(seconds=table.retention_seconds)
            is_recent = pl.col("time") >= min_time
            for bucket in snapshot.buckets:
                rows = _read_events(snapshot, bucket).filter(is_recent)
                _add_rows(rows, table)
                on_progress()
        return snapshot.manifest.offsets


def _read_events(snapshot: StoreSnapshot, bucket: int) -> pl.DataFrame:
    """Return one row per user and movie with the time of the newest event."""
    minutes = pl.col("minutes")
    watches = snapshot.read_watches(bucket).select(
        "user_id",
        "movie_id",
        minutes.list.len().alias("count"),
        minutes.list.max().alias("highest"),
        pl.col("last_time").alias("watch_time"),
    )
    ratings = snapshot.read_ratings(bucket).select(
        "user_id", "movie_id", "rating", pl.col("time").alias("rating_time")
    )
    joined = watches.join(ratings, on=["user_id", "movie_id"], how="full", coalesce=True)
    time = pl.max_horizontal("watch_time", "rating_time").alias("time")
    return joined.with_columns(time).filter(patterns.is_movie_id(pl.col("movie_id")))


def _add_rows(rows: pl.DataFrame, table: TableWriter) -> None:
    """Add rows of users of whom the file has none."""
    seconds = pl.col("time").dt.epoch("s").clip(lower_bound=0)
    ordered = rows.with_columns(seconds=seconds).sort(
        "user_id", "time", "movie_id", descending=[False, True, False]
    )
    layout = table.layout
    movies_per_user = layout.movies_per_user + layout.older_per_user
    newest = ordered.group_by("user_id", maintain_order=True).head(movies_per_user)
    columns = newest.select("user_id", "movie_id", "seconds", "count", "highest", "rating")
    user_id, events = 0, list[StoredEvent]()
    for owner, movie_id, time, count, highest, rating in columns.iter_rows():
        if owner != user_id:
            table.put(user_id, layout.limit(events))
            user_id, events = owner, []
        events.append(
            StoredEvent(
                table.number_movie(movie_id),
                time,
                count or 0,
                highest or 0,
                NO_MINUTE if highest is None else highest,
                _NAN if rating is None else rating,
            )
        )
    table.put(user_id, layout.limit(events))
