"""Events encoded as arrays: one row per pair of user and movie, both numbered from 0."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.training.errors import TrainingError

_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1)
_PAIR = ["user_id", "movie_id"]
_TIME = pl.Datetime("us")
_KEYS = {"user_id": pl.Int64, "movie_id": pl.String}


@dataclass(frozen=True)
class Interactions:
    """Pairs of user and movie, sorted by both: `E` pairs of `U` users and `N` movies.

    Attributes:
        users: [U] user ids, ascending.
        movies: [N] movie ids, ascending.
        start: [U + 1] index of each user's first pair.
        movie: [E] movie numbers.
        rating: [E] float32, NaN without a rating.
        minutes: [E] distinct minutes watched, 0 without a watch.
        age_days: [E] age in days, counted from the newest pair; NaN without a time.
        length_minutes: [N] float32, NaN for a movie of unknown length; None without lengths.
        newest: UTC time of the newest pair; None when no pair has a time.
    """

    users: NDArray[np.int64]
    movies: list[str]
    start: NDArray[np.int64]
    movie: NDArray[np.int32]
    rating: NDArray[np.float32]
    minutes: NDArray[np.uint16]
    age_days: NDArray[np.float64]
    length_minutes: NDArray[np.float32] | None
    newest: datetime | None

    @property
    def user(self) -> NDArray[np.int32]:
        """[E] user numbers."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.start))

    def find_users(self, pairs: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the user numbers of some pairs, by their indices."""
        return (np.searchsorted(self.start, pairs, side="right") - 1).astype(np.int32)

    def describe(self) -> dict[str, Any]:
        """Return counts, time range, and `data_hash`: SHA-256 of the content of all arrays."""
        digest = hashlib.sha256("\n".join(self.movies).encode())
        for array in (
            self.users,
            self.start,
            self.movie,
            self.rating,
            self.minutes,
            self.age_days,
        ):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self.newest).encode())
        if self.length_minutes is not None:
            digest.update(self.length_minutes.tobytes())
        lengths = self.length_minutes
        return {
            "data_hash": digest.hexdigest(),
            "users": len(self.users),
            "movies": len(self.movies),
            "pairs": len(self.movie),
            "ratings": int(np.isfinite(self.rating).sum()),
            "watches": int((self.minutes > 0).sum()),
            "lengths": 0 if lengths is None else int(np.isfinite(lengths).sum()),
            "newest": None if self.newest is None else self.newest.isoformat(),
            "span_days": None if self.newest is None else round(float(np.nanmax(self.age_days)), 3),
        }


def encode_interactions(
    ratings: pl.DataFrame | None,
    watches: pl.DataFrame | None,
    lengths: pl.DataFrame | None = None,
) -> Interactions:
    """Join ratings and watches to one row per pair of user and movie, and number both.

    Of several rows of a pair in one table, the newest counts.

    Args:
        ratings: user_id, movie_id, rating, time.
        watches: user_id, movie_id, minutes, last_time.
        lengths: movie_id, length in minutes.

    Raises:
        TrainingError: there are no events, a rating is not a finite number, or a movie id cannot
            be part of a recommendation.
    """
    pairs = _join(ratings, watches)
    if pairs.is_empty():
        raise TrainingError("no events: neither ratings nor watches")
    movies = pairs["movie_id"].unique().sort()
    _check_movie_ids(movies)
    users = pairs["user_id"].unique().sort()
    pairs = pairs.select(
        user=pl.col("user_id").replace_strict(
            users, pl.int_range(len(users), dtype=pl.Int32, eager=True)
        ),
        movie=pl.col("movie_id").cast(pl.Enum(movies)).to_physical().cast(pl.Int32),
        rating=pl.col("rating"),
        minutes=pl.col("minutes").fill_null(0).cast(pl.UInt16),
        time=pl.col("time").cast(pl.Int64),
    ).sort("user", "movie")
    return _to_arrays(pairs, users.to_numpy(), movies.to_list(), _encode_lengths(movies, lengths))


def _join(ratings: pl.DataFrame | None, watches: pl.DataFrame | None) -> pl.DataFrame:
    rated = pl.DataFrame(schema={**_KEYS, "rating": pl.Float32, "time": _TIME})
    if ratings is not None:
        if not ratings["rating"].is_finite().fill_null(value=False).all():
            raise TrainingError("ratings: a rating is not a finite number")
        rated = _keep_newest(
            ratings.select(*_PAIR, pl.col("rating").cast(pl.Float32), "time"), "time"
        )
    watched = pl.DataFrame(schema={**_KEYS, "minutes": pl.UInt16, "last_time": _TIME})
    if watches is not None:
        watched = _keep_newest(watches.select(*_PAIR, "minutes", "last_time"), "last_time")
    return rated.join(watched, on=_PAIR, how="full", coalesce=True).with_columns(
        time=pl.max_horizontal("time", "last_time")
    )


def _keep_newest(table: pl.DataFrame, time: str) -> pl.DataFrame:
    for column in _PAIR:
        if table[column].null_count():
            raise TrainingError(f"a row without {column}")
    if table.select(pl.struct(_PAIR).is_duplicated().any()).item():
        table = table.sort(time, nulls_last=False, maintain_order=True).unique(
            _PAIR, keep="last", maintain_order=True
        )
    return table


def _check_movie_ids(movies: pl.Series) -> None:
    bad = movies.filter(~movies.str.contains(r"^[^\s,\x00-\x1f\x7f]+$"))
    if len(bad):
        raise TrainingError(f"not a movie id: {str(bad[0])[:80]!r}")


def _encode_lengths(movies: pl.Series, lengths: pl.DataFrame | None) -> NDArray[np.float32] | None:
    if lengths is None:
        return None
    table = movies.to_frame("movie_id").join(
        lengths, on="movie_id", how="left", maintain_order="left"
    )
    return _to_floats(table["length"]).astype(np.float32)


def _to_arrays(
    pairs: pl.DataFrame,
    users: NDArray[np.int64],
    movies: list[str],
    length_minutes: NDArray[np.float32] | None,
) -> Interactions:
    counts = np.bincount(pairs["user"].to_numpy(), minlength=len(users))
    time_us = _to_floats(pairs["time"])
    has_time = bool(np.isfinite(time_us).any())
    newest_us = float(np.nanmax(time_us)) if has_time else np.nan
    return Interactions(
        users=users,
        movies=movies,
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        movie=pairs["movie"].to_numpy(),
        rating=_to_floats(pairs["rating"]).astype(np.float32),
        minutes=pairs["minutes"].to_numpy(),
        age_days=(newest_us - time_us) / _DAY_US,
        length_minutes=length_minutes,
        newest=_EPOCH + timedelta(microseconds=int(newest_us)) if has_time else None,
    )


def _to_floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
