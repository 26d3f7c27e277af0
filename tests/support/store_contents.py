"""Read a whole store, so that two can be compared."""

from pathlib import Path

import polars as pl

from app.ingest.schemas import KEY
from app.ingest.store_reader import StoreSnapshot, open_store


def read_store(store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all watches and all ratings of a store, sorted by user and movie."""
    with open_store(store) as snapshot:
        ratings = pl.concat(map(snapshot.read_ratings, snapshot.buckets))
        return read_all_watches(snapshot), ratings.sort(KEY)


def read_all_watches(snapshot: StoreSnapshot) -> pl.DataFrame:
    return pl.concat(map(snapshot.read_watches, snapshot.buckets)).sort(KEY)
