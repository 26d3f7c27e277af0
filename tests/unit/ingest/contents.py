"""What a store holds, in a form that can be compared."""

from pathlib import Path

import polars as pl

from app.ingest.schemas import KEY
from app.ingest.store_reader import StoreSnapshot, open_store


def contents(store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All watches and all ratings of a store, sorted by user and movie."""
    with open_store(store) as view:
        return watches(view), pl.concat(map(view.read_ratings, view.buckets)).sort(KEY)


def watches(view: StoreSnapshot) -> pl.DataFrame:
    return pl.concat(map(view.read_watches, view.buckets)).sort(KEY)
