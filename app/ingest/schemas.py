"""The columns of every table of this package.

`RATINGS` and `WATCHES` are the interface to training; the others are internal.
"""

import polars as pl

#: Times without a zone, as the log has them, in microseconds. Seconds since 1970 are read as UTC.
TIMESTAMP = pl.Datetime("us")
Schema = dict[str, pl.DataType]

#: The key of a row: one row per user and movie.
KEY = ["user_id", "movie_id"]

#: One row per user and movie: the newest rating. A rating without a time is the oldest.
RATINGS: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "rating": pl.Float32(),
    "time": TIMESTAMP,
}
#: One row per user and movie: the number of distinct minutes watched, first and last time.
WATCHES: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "minutes": pl.UInt16(),
    "first_time": TIMESTAMP,
    "last_time": TIMESTAMP,
}

#: One row per watch line.
WATCH_EVENTS: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "minute": pl.UInt16(),
    "time": TIMESTAMP,
}
#: One row per rating line.
RATING_EVENTS: Schema = RATINGS
#: The store keeps the minutes themselves, so that a line ingested twice counts once.
STORED_WATCHES: Schema = {**WATCHES, "minutes": pl.List(pl.UInt16())}
STORED_RATINGS: Schema = RATINGS


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Select and cast the columns of a schema, in its order."""
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
