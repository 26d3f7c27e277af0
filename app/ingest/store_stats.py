"""Count what is in a store: for id repair, for `marquee data stats` and for retraining."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from app.ingest.id_repair import repair_ids
from app.ingest.movie_counts import MovieCounts
from app.ingest.retention import newest_event_time
from app.ingest.store_files import TABLES, read_manifest
from app.ingest.store_reader import StoreSnapshot, open_store


class StoreCounts(NamedTuple):
    """Rows of a store, one per user and movie, and users by movie id as received."""

    watches: int
    ratings: int
    users_by_movie: MovieCounts


def count_rows(snapshot: StoreSnapshot) -> StoreCounts:
    """Count rows and users by movie id in one pass over the buckets."""
    watches = ratings = 0
    users_by_movie = MovieCounts()
    for bucket in snapshot.buckets:
        watched = snapshot.read_keys("watches", bucket)
        rated = snapshot.read_keys("ratings", bucket)
        watches += watched.height
        ratings += rated.height
        users = _count_by_movie(watched, rated)
        users_by_movie.add(users["movie_id"], users["len"])
    return StoreCounts(watches, ratings, users_by_movie)


def count_users(snapshot: StoreSnapshot, bucket: int) -> pl.DataFrame:
    """Return the number of a bucket's users (`len`) by movie id as received (`movie_id`)."""
    return _count_by_movie(
        snapshot.read_keys("watches", bucket), snapshot.read_keys("ratings", bucket)
    )


def _count_by_movie(watched: pl.DataFrame, rated: pl.DataFrame) -> pl.DataFrame:
    keys = pl.concat([watched, rated]).unique() if rated.height else watched
    return keys.group_by("movie_id").len()


def read_movie_ids(snapshot: StoreSnapshot, bucket: int) -> pl.Series:
    """Return the different movie ids of a bucket, as received."""
    return pl.concat(
        [snapshot.read_keys(table, bucket)["movie_id"].unique() for table in TABLES]
    ).unique()


def count_rows_after(store: Path, time: datetime) -> int:
    """Return the approximate number of rows with a later (first) time; some may count twice."""
    manifest = read_manifest(store)
    total = 0
    for name in () if manifest is None else manifest.segment_names:
        column = "time" if name.startswith("ratings") else "first_time"
        rows = pl.scan_parquet(store / name).filter(pl.col(column) > time)
        total += int(rows.select(pl.len()).collect().item())
    return total


def describe_store(store: Path) -> dict[str, Any]:
    """Return the output of `marquee data stats`; see its help.

    Raises:
        IngestError: there is no store, or it is damaged.
    """
    with open_store(store) as snapshot:
        counts = count_rows(snapshot)
        is_valid = counts.users_by_movie.is_valid
        is_repaired = np.zeros(len(is_valid), np.bool_)
        for bucket in snapshot.buckets:
            ids = read_movie_ids(snapshot, bucket)
            corrupted = ids.filter(repair_ids(ids, counts.users_by_movie).is_not_null())
            is_repaired[counts.users_by_movie.find(corrupted)] = True
        newest = newest_event_time(snapshot)
        manifest = snapshot.manifest
        return {
            "pairs": counts.watches,
            "ratings": counts.ratings,
            "minutes": sum(_count_minutes(snapshot, bucket) for bucket in snapshot.buckets),
            "users": sum(_count_users(snapshot, bucket) for bucket in snapshot.buckets),
            "movies": int(np.count_nonzero(is_valid & ~is_repaired)),
            "repaired_ids": int(np.count_nonzero(is_repaired)),
            "unrepairable_ids": int(np.count_nonzero(~is_valid & ~is_repaired)),
            "newest": newest.isoformat() if newest else "none",
            "files": {table: len(manifest.segments(table)) for table in TABLES},
            "bytes": sum((store / name).stat().st_size for name in manifest.segment_names),
            "offsets": {
                partition: value["offset"] for partition, value in sorted(manifest.offsets.items())
            },
        }


def _count_minutes(snapshot: StoreSnapshot, bucket: int) -> int:
    return int(snapshot.read_watches(bucket)["minutes"].list.len().sum())


def _count_users(snapshot: StoreSnapshot, bucket: int) -> int:
    users = [snapshot.read_keys(table, bucket)["user_id"] for table in TABLES]
    return pl.concat(users).n_unique()
