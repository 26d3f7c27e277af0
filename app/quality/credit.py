"""Credit watches to answers: the last answer to the user before the watch that held the movie.

The store has one row for each user and movie, with the time at which its watching began, so that a
movie counts once for a user: at its first watching.
"""

from datetime import timedelta

import polars as pl

from app.ingest.schemas import TIMESTAMP, Schema

#: A watch is credited to an answer that is at most this old: name -> age.
HORIZONS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24)}
#: The one that must be known, and that the verdict uses.
JUDGED_HORIZON = "1h"
_LONGEST = max(HORIZONS.values())

#: One row per answer. `listed` are the movies answered, best first, and `unlisted` those that only
#: the other version's list held, in any order (null where that list is not known).
ANSWERS: Schema = {
    "answer": pl.Int64(),
    "user_id": pl.Int64(),
    "time": TIMESTAMP,
    "version": pl.Int64(),
    "listed": pl.List(pl.Int32()),
    "unlisted": pl.List(pl.Int32()),
}
#: One row per user and movie: the begin of watching (UTC), minutes, and the movie's length.
WATCHED: Schema = {
    "user_id": pl.Int64(),
    "movie": pl.Int32(),
    "time": TIMESTAMP,
    "minutes": pl.Int32(),
    "runtime": pl.Int32(),
}
#: One row per credited watch: the answer, the movie's rank in its list (from 1), the time from the
#: answer to the watch, minutes watched, and their share of the movie (null: length not known).
CREDITED: Schema = {
    "answer": pl.Int64(),
    "user_id": pl.Int64(),
    "movie": pl.Int32(),
    "rank": pl.Int32(),
    "delay": pl.Duration("us"),
    "minutes": pl.Int32(),
    "watched_share": pl.Float64(),
}
_PAIR = ["user_id", "movie"]


def credit_watches(answers: pl.DataFrame, watched: pl.DataFrame) -> pl.DataFrame:
    """Credit each watch to the last answer within 24 hours before it that held the movie.

    That within one hour is a part of it: the rows with a `delay` of at most one hour.

    Args:
        answers: `ANSWERS`.
        watched: `WATCHED`.

    Returns:
        `CREDITED`, one row for each user and movie that is credited.
    """
    return _credit(answers, watched, "listed")


def credit_unaided(
    answers: pl.DataFrame, watched: pl.DataFrame, credited: pl.DataFrame
) -> pl.DataFrame:
    """Credit in the same way watches of movies that only the other version's list held.

    They were watched unaided: no answer of the 24 hours before has shown the movie.

    Args:
        answers: `ANSWERS`.
        watched: `WATCHED`.
        credited: what `credit_watches` returned for them.

    Returns:
        `CREDITED`; `rank` has no meaning.
    """
    return _credit(answers, watched.join(credited, on=_PAIR, how="anti"), "unlisted")


def _credit(answers: pl.DataFrame, watched: pl.DataFrame, column: str) -> pl.DataFrame:
    recent = (
        watched.lazy()
        .join(answers.lazy().select("answer", "user_id", "time", column), on="user_id", suffix="_a")
        .with_columns(delay=pl.col("time") - pl.col("time_a"))
        .filter(pl.col("delay").is_between(timedelta(0), _LONGEST))
        .filter(pl.col(column).list.contains(pl.col("movie")))
    )
    ranks = pl.int_ranges(1, pl.col(column).list.len() + 1, dtype=pl.Int32)
    ranked = (
        recent.with_columns(rank=ranks)
        .explode(column, "rank")
        .filter(pl.col(column) == pl.col("movie"))
    )
    last = ranked.sort("time_a", "answer").unique(_PAIR, keep="last", maintain_order=True)
    share = (pl.col("minutes") / pl.col("runtime")).clip(upper_bound=1)
    return (
        last.with_columns(watched_share=share)
        .select(pl.col(name).cast(kind) for name, kind in CREDITED.items())
        .sort(_PAIR)
        .collect()
    )
