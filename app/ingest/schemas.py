"""The columns of every table in this room.

`RATINGS` and `WATCHES` are what training reads: a promise. The others stay inside the room.
"""

import polars as pl

MOMENT = pl.Datetime("us")
Schema = dict[str, pl.DataType]

#: What identifies a row: one per user and movie.
KEY = ["user_id", "movie_id"]

#: One row per user and movie: the newest rating; no time means older than any with one.
RATINGS: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "rating": pl.Float32(),
    "time": MOMENT,
}
#: One row per user and movie: how many different minutes were watched, first and last when.
WATCHES: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "minutes": pl.UInt16(),
    "first_time": MOMENT,
    "last_time": MOMENT,
}

#: One row per watch line.
WATCH_EVENTS: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "minute": pl.UInt16(),
    "time": MOMENT,
}
#: One row per rating line, before the newest is chosen.
RATING_EVENTS: Schema = RATINGS
#: In the store the minutes themselves are kept, so that a line taken twice counts once.
STORED_WATCHES: Schema = {**WATCHES, "minutes": pl.List(pl.UInt16())}
STORED_RATINGS: Schema = RATINGS


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The schema's columns, in its order and of its types."""
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
