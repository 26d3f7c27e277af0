"""Group the events of log lines, or of the event store, by user and movie for the file."""

from collections.abc import Callable, Iterable
from datetime import datetime

import polars as pl

from app.ingest import patterns
from app.ingest.batch_parser import ParsedBatch
from app.recent_activity.table_format import NO_MINUTE, NewEvents
from app.recent_events import to_seconds

_NAN = float("nan")


def to_stored_time(time: datetime) -> int:
    """Return the whole seconds since 1970 of a time of the log, as the file has them."""
    return max(0, int(to_seconds(time)))


def event_times(batch: ParsedBatch) -> list[int]:
    """Return the time of each event of a batch, as the file has it."""
    return to_stored_times(pl.concat([batch.watches["time"], batch.ratings["time"]]))


def to_stored_times(times: pl.Series) -> list[int]:
    """Return what `to_stored_time` does for each time of a column."""
    return times.drop_nulls().dt.epoch("s").clip(lower_bound=0).to_list()


def group_events(
    batch: ParsedBatch, number_movie: Callable[[str], int]
) -> dict[int, list[NewEvents]]:
    """Return the events of a batch by user.

    Events of an id that no movie can have, which training repairs later, are left out.

    Args:
        batch: parsed lines.
        number_movie: returns the number of a movie id.
    """
    users: dict[int, list[NewEvents]] = {}
    for user_id, movie_id, seconds, minutes, highest, first, last in _group_watches(batch.watches):
        event = NewEvents(
            number_movie(movie_id), seconds, minutes, highest, first, last, rating=_NAN
        )
        users.setdefault(user_id, []).append(event)
    for user_id, movie_id, seconds, rating in _group_ratings(batch.ratings):
        event = NewEvents(
            number_movie(movie_id), seconds, 0, 0, NO_MINUTE, NO_MINUTE, rating=rating
        )
        users.setdefault(user_id, []).append(event)
    return users


def _group_watches(watches: pl.DataFrame) -> Iterable[tuple[int, str, int, int, int, int, int]]:
    groups = watches.filter(patterns.is_movie_id(pl.col("movie_id"))).group_by(
        "user_id", "movie_id", maintain_order=True
    )
    minute = pl.col("minute")
    return groups.agg(
        _seconds(pl.col("time").max()),
        minute.n_unique().alias("minutes"),
        minute.max().alias("highest"),
        minute.first().alias("first"),
        minute.last().alias("last"),
    ).iter_rows()


def _group_ratings(ratings: pl.DataFrame) -> Iterable[tuple[int, str, int, float]]:
    groups = ratings.filter(patterns.is_movie_id(pl.col("movie_id"))).group_by(
        "user_id", "movie_id", maintain_order=True
    )
    # As in the event store: the newest rating; of several at one time the highest.
    newest = pl.col("rating").sort_by("time", "rating").last()
    return groups.agg(_seconds(pl.col("time").max()), newest).iter_rows()


def _seconds(time: pl.Expr) -> pl.Expr:
    return time.dt.epoch("s").clip(lower_bound=0)
