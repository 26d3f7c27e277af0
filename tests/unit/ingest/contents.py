"""What a store holds, in a form that can be compared."""

from pathlib import Path

import polars as pl

from app.ingest.schemas import KEY
from app.ingest.store import Snapshot, open_store


def contents(store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All watches and all ratings of a store, sorted by user and movie."""
    with open_store(store) as view:
        return watches(view), pl.concat(map(view.ratings, view.buckets)).sort(KEY)


def watches(view: Snapshot) -> pl.DataFrame:
    return pl.concat(map(view.watches, view.buckets)).sort(KEY)
