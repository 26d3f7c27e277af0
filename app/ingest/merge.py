"""Merge rows of the same user and movie: the set of watched minutes, the newest rating.

Union, minimum and maximum do not depend on order, grouping or repetition. So a file may be
ingested twice, in any batches and after any crash, and the store holds the same rows.
"""

import polars as pl

from app.ingest.schemas import KEY, STORED_RATINGS, STORED_WATCHES, conform


def merge_watch_events(events: pl.DataFrame) -> pl.DataFrame:
    """Merge watch lines (`WATCH_EVENTS`) to stored rows (`STORED_WATCHES`), sorted by `KEY`."""
    return _merge_minutes(
        events.select(*KEY, minutes="minute", first_time="time", last_time="time"),
    )


def merge_watches(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Merge stored rows of several segments to one per user and movie, sorted by `KEY`."""
    if len(frames) == 1:  # a segment is already merged
        return frames[0]
    return _merge_minutes(pl.concat(frames).explode("minutes"))


def merge_ratings(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Select the newest rating per user and movie, sorted by `KEY`.

    A rating without a time is older than any with one. Of several at one time the highest counts,
    since that choice does not depend on the order in which they arrived.
    """
    rows = pl.concat(frames).sort(*KEY, "time", "rating", nulls_last=False)
    newest = rows.unique(KEY, keep="last", maintain_order=True)
    return conform(newest, STORED_RATINGS)


def _merge_minutes(rows: pl.DataFrame) -> pl.DataFrame:
    """Merge rows with one minute each to rows with a sorted list of distinct minutes."""
    groups = rows.sort(*KEY, "minutes").group_by(KEY, maintain_order=True)
    merged = groups.agg("minutes", pl.col("first_time").min(), pl.col("last_time").max())
    # The lists are sorted, so this compares neighbours; unique() within agg is twice as slow.
    distinct = pl.col("minutes").list.unique(maintain_order=True)
    return conform(merged.with_columns(distinct), STORED_WATCHES)
