"""Small tables of events for tests."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from app.training.interactions import Interactions, encode_interactions

NEWEST = datetime(2022, 11, 14, 12, 24)
MOMENT = pl.Datetime("us")
#: user, movie, value, days before NEWEST (None: no time)
Row = tuple[int, str, float, float | None]


def ratings(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "movie_id": [row[1] for row in rows],
            "rating": [row[2] for row in rows],
            "time": _times(rows),
        },
        schema={
            "user_id": pl.Int64,
            "movie_id": pl.String,
            "rating": pl.Float32,
            "time": MOMENT,
        },
    )


def watches(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "movie_id": [row[1] for row in rows],
            "minutes": [int(row[2]) for row in rows],
            "first_time": _times(rows),
            "last_time": _times(rows),
        },
        schema={
            "user_id": pl.Int64,
            "movie_id": pl.String,
            "minutes": pl.UInt16,
            "first_time": MOMENT,
            "last_time": MOMENT,
        },
    )


def events(*rows: Row) -> Interactions:
    return encode_interactions(ratings(*rows), None)


def _times(rows: Sequence[Row]) -> list[datetime | None]:
    return [None if row[3] is None else NEWEST - timedelta(days=row[3]) for row in rows]
