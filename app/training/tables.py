"""Read the tables of events that `marquee prepare` writes."""

from pathlib import Path

import polars as pl

from app.training.data import Interactions, number_events
from app.training.errors import TrainingError

_Columns = dict[str, pl.DataType | type[pl.DataType]]
_TIME = pl.Datetime("us")
_RATINGS: _Columns = {
    "user_id": pl.Int64,
    "movie_id": pl.String,
    "rating": pl.Float32,
    "time": _TIME,
}
_WATCHES: _Columns = {
    "user_id": pl.Int64,
    "movie_id": pl.String,
    "minutes": pl.UInt16,
    "first_time": _TIME,
    "last_time": _TIME,
}


def read_events(ratings: Path | None, watches: Path | None) -> Interactions:
    """Read and number the events of one or both tables.

    Raises:
        TrainingError: a file cannot be used, or there is no event.
    """
    return number_events(
        None if ratings is None else read_ratings(ratings),
        None if watches is None else read_watches(watches),
    )


def read_ratings(path: Path) -> pl.DataFrame:
    """Ratings: user_id, movie_id, rating, time (may be null).

    Raises:
        TrainingError: the file is missing, cannot be read, or lacks a column.
    """
    return _read(path, _RATINGS)


def read_watches(path: Path) -> pl.DataFrame:
    """Watches: user_id, movie_id, minutes, first_time, last_time.

    Raises:
        TrainingError: the file is missing, cannot be read, or lacks a column.
    """
    return _read(path, _WATCHES)


def _read(path: Path, columns: _Columns) -> pl.DataFrame:
    try:
        if path.suffix == ".csv":
            return pl.read_csv(path, schema_overrides=columns).select(list(columns))
        return pl.read_parquet(path).select(pl.col(name).cast(columns[name]) for name in columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"{path}: not a table of {', '.join(columns)}: {error}") from error
