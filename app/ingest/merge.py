"""Many rows for a user and a movie to one: the set of minutes, the newest rating.

Union, minimum and maximum do not mind order, grouping or repetition. That is why a file may be
taken twice, in any blocks, by a collector that was killed: the store is the same in the end.
"""

import polars as pl

from app.ingest.schemas import KEY, STORED_RATINGS, STORED_WATCHES, conform


def watches_of(events: pl.DataFrame) -> pl.DataFrame:
    """Watch lines (`WATCH_EVENTS`) to stored rows (`STORED_WATCHES`), sorted by `KEY`."""
    return _collapse(
        events.select(*KEY, minutes="minute", first_time="time", last_time="time"),
    )


def merge_watches(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Stored rows of several segments to one row per user and movie, sorted by `KEY`."""
    if len(parts) == 1:  # a segment is merged in itself
        return parts[0]
    return _collapse(pl.concat(parts).explode("minutes"))


def merge_ratings(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The newest rating per user and movie, sorted by `KEY`.

    A rating without a time is older than any with one; of several at one moment the highest
    counts, since that choice does not depend on the order in which they came.
    """
    rows = pl.concat(parts).sort(*KEY, "time", "rating", nulls_last=False)
    newest = rows.unique(KEY, keep="last", maintain_order=True)
    return conform(newest, STORED_RATINGS)


def _collapse(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with one minute each to rows with a sorted set of them."""
    groups = rows.sort(*KEY, "minutes").group_by(KEY, maintain_order=True)
    merged = groups.agg("minutes", pl.col("first_time").min(), pl.col("last_time").max())
    # Sorted already, so this is a pass over neighbours; unique() within agg is twice as slow.
    distinct = pl.col("minutes").list.unique(maintain_order=True)
    return conform(merged.with_columns(distinct), STORED_WATCHES)
