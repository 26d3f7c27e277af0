"""What is in a store: `marquee data stats`."""

from pathlib import Path
from typing import Any

import polars as pl

from app.ingest.id_repair import count_store, find_repairs
from app.ingest.log_parser import is_movie_id
from app.ingest.manifest import TABLES
from app.ingest.retention import newest_moment
from app.ingest.store import Snapshot, open_store


def describe_store(store: Path) -> dict[str, Any]:
    """Count and measure a store, a bucket at a time.

    Raises:
        EventsError: there is none, or it is damaged.
    """
    with open_store(store) as view:
        counts = count_store(view)
        repairs = find_repairs(counts.users)
        movies = {repairs.get(movie, movie) for movie in counts.users}
        newest = newest_moment(view)
        manifest = view.manifest
        return {
            "pairs": counts.watches,
            "ratings": counts.ratings,
            "minutes": sum(_minutes(view, bucket) for bucket in view.buckets),
            "users": sum(_users(view, bucket) for bucket in view.buckets),
            "movies": sum(is_movie_id(movie) for movie in movies),
            "repaired_ids": len(repairs),
            "hopeless_ids": sum(not is_movie_id(movie) for movie in movies),
            "newest": newest.isoformat() if newest else "none",
            "files": {table: len(manifest.segments(table)) for table in TABLES},
            "bytes": sum((store / name).stat().st_size for name in manifest.names),
            "positions": {
                name: position["offset"] for name, position in sorted(manifest.positions.items())
            },
        }


def _minutes(view: Snapshot, bucket: int) -> int:
    return int(view.watches(bucket)["minutes"].list.len().sum())


def _users(view: Snapshot, bucket: int) -> int:
    users = [view.keys(table, bucket)["user_id"] for table in TABLES]
    return pl.concat(users).n_unique()
