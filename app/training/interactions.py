"""Events encoded as arrays: one row per pair of user and movie, both numbered from 0."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.training.errors import TrainingError
from app.training.mapped_arrays import CreateArray

#: Default of `MARQUEE_TRAIN_BLOCK_PAIRS`.
BLOCK_PAIRS = 2_000_000
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
        create_array: creates the arrays of all pairs or users that are computed from these.
        block_pairs: number of pairs that are computed at a time.
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
    create_array: CreateArray = np.empty
    block_pairs: int = BLOCK_PAIRS

    @property
    def user(self) -> NDArray[np.int32]:
        """[E] user numbers."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.start))

    def find_active_users(self, days: float) -> NDArray[np.bool_]:
        """Return whether each user [U] has a pair of at most this age; all without any times."""
        if self.newest is None:
            return np.ones(len(self.users), bool)
        active = np.zeros(len(self.users), bool)
        for first, last in self.split_users():
            ages = self.age_days[self.start[first] : self.start[last]]
            begin = self.start[first:last] - self.start[first]
            active[first:last] = np.logical_or.reduceat(ages <= days, begin)
        return active

    def select_users(self, chosen: NDArray[np.bool_]) -> "tuple[Interactions, NDArray[np.bool_]]":
        """Return the pairs of some users, of the same movies, and which [E] of all pairs they are.

        Args:
            chosen: [U] whether a user is one of them.
        """
        counts = np.diff(self.start)
        pairs = np.repeat(chosen, counts)
        selected = replace(
            self,
            users=self.users[chosen],
            start=np.concatenate([[0], np.cumsum(counts[chosen])]),
            movie=self.movie[pairs],
            rating=self.rating[pairs],
            minutes=self.minutes[pairs],
            age_days=self.age_days[pairs],
        )
        return selected, pairs

    def find_users(self, pairs: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the user numbers of some pairs, by their indices."""
        return (np.searchsorted(self.start, pairs, side="right") - 1).astype(np.int32)

    def split_users(self, blocks: int = 1) -> Iterator[tuple[int, int]]:
        """Yield ranges of users, first and last + 1, of at most so many blocks or of one user."""
        first, users, max_pairs = 0, len(self.users), blocks * self.block_pairs
        while first < users:
            reached = int(np.searchsorted(self.start, self.start[first] + max_pairs, side="right"))
            last = min(max(reached - 1, first + 1), users)
            yield first, last
            first = last

    def split_pairs(self) -> Iterator[slice]:
        """Return slices of a block of pairs, the last of at most so many."""
        return _split(len(self.movie), self.block_pairs)

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
    ids = [table["movie_id"] for table in (ratings, watches) if table is not None]
    movies = pl.concat([pl.Series("movie_id", [], pl.String), *ids]).unique()
    rows = sum(len(column) for column in ids)
    return encode_parts([(ratings, watches)], rows, movies, lengths)


def encode_parts(
    parts: Iterable[tuple[pl.DataFrame | None, pl.DataFrame | None]],
    max_pairs: int,
    movie_ids: pl.Series,
    lengths: pl.DataFrame | None = None,
    advance: Callable[[int], None] = lambda _: None,
    create_array: CreateArray = np.empty,
) -> Interactions:
    """Join and number tables as `encode_interactions` does, a range of users at a time.

    Args:
        parts: ratings and watches of ranges of users, in ascending order of users; all rows of a
            user are in one of them.
        max_pairs: at least the number of rows of all parts.
        movie_ids: the different movie ids of all parts.
        lengths: movie_id, length in minutes.
        advance: called with the number of rows that are done.
        create_array: creates the arrays of all pairs.

    Raises:
        TrainingError: as `encode_interactions`.
    """
    movies = sort_movie_ids(movie_ids)
    # Pages that are not written to take no memory, so the arrays may be larger than needed.
    movie = create_array(max_pairs, np.int32)
    rating = create_array(max_pairs, np.float32)
    minutes = create_array(max_pairs, np.uint16)
    time_us = create_array(max_pairs, np.float64)
    users, counts, size = [np.empty(0, np.int64)], [np.zeros(1, np.int64)], 0
    for ratings, watches in parts:
        pairs = encode_pairs(ratings, watches, movies)
        place, size = slice(size, size + len(pairs.movie)), size + len(pairs.movie)
        movie[place] = pairs.movie
        rating[place] = pairs.rating
        minutes[place] = pairs.minutes
        time_us[place] = pairs.time_us
        users.append(pairs.users)
        counts.append(pairs.counts)
        advance(sum(len(table) for table in (ratings, watches) if table is not None))
    if size == 0:
        raise TrainingError("no events: neither ratings nor watches")
    time_us = time_us[:size]
    has_time = any(np.isfinite(time_us[part]).any() for part in _split(size))
    newest_us = float(np.nanmax(time_us)) if has_time else np.nan
    to_ages(time_us, newest_us)
    return Interactions(
        users=np.concatenate(users),
        movies=movies.to_list(),
        start=np.cumsum(np.concatenate(counts)),
        movie=movie[:size],
        rating=rating[:size],
        minutes=minutes[:size],
        age_days=time_us,
        length_minutes=encode_lengths(movies, lengths),
        newest=to_time(newest_us),
        create_array=create_array,
    )


class EncodedPairs(NamedTuple):
    """Pairs of `U` users, sorted by user and movie.

    Attributes:
        users: [U] user ids, ascending.
        counts: [U] number of pairs of each user.
        movie: [E] movie numbers.
        rating: [E] NaN without a rating.
        minutes: [E] 0 without a watch.
        time_us: [E] microseconds since 1970; NaN without a time.
    """

    users: NDArray[np.int64]
    counts: NDArray[np.int64]
    movie: NDArray[np.int32]
    rating: NDArray[np.float64]
    minutes: NDArray[np.uint16]
    time_us: NDArray[np.float64]


def encode_pairs(
    ratings: pl.DataFrame | None, watches: pl.DataFrame | None, movies: pl.Series
) -> EncodedPairs:
    """Join and number all rows of some users.

    Args:
        ratings: as for `encode_interactions`.
        watches: as for `encode_interactions`.
        movies: as `sort_movie_ids` returns them.

    Raises:
        TrainingError: as `encode_interactions`.
    """
    pairs = _number(_join(ratings, watches), movies)
    found = pairs["user_id"].rle().struct.unnest()
    return EncodedPairs(
        users=found["value"].to_numpy(),
        counts=found["len"].to_numpy().astype(np.int64),
        movie=pairs["movie"].to_numpy(),
        rating=_to_floats(pairs["rating"]),
        minutes=pairs["minutes"].to_numpy(),
        time_us=_to_floats(pairs["time"]),
    )


def sort_movie_ids(movie_ids: pl.Series) -> pl.Series:
    """Return movie ids in the order of their numbers.

    Raises:
        TrainingError: a movie id cannot be part of a recommendation.
    """
    movies = movie_ids.drop_nulls().sort()
    _check_movie_ids(movies)
    return movies


def to_ages(time_us: NDArray[np.float64], newest_us: float) -> NDArray[np.float64]:
    """Replace times [E] in microseconds by the ages in days at a time; return the same array."""
    np.subtract(newest_us, time_us, out=time_us)
    time_us /= _DAY_US
    return time_us


def to_time(time_us: float) -> datetime | None:
    """Return the UTC time of microseconds since 1970; None for NaN."""
    return None if np.isnan(time_us) else _EPOCH + timedelta(microseconds=int(time_us))


def _split(size: int, length: int = BLOCK_PAIRS) -> Iterator[slice]:
    return (slice(first, min(first + length, size)) for first in range(0, size, length))


def _number(pairs: pl.DataFrame, movies: pl.Series) -> pl.DataFrame:
    """Return user_id, movie (number), rating, minutes and time, sorted by user and movie."""
    return pairs.select(
        pl.col("user_id"),
        movie=pl.col("movie_id").cast(pl.Enum(movies)).to_physical().cast(pl.Int32),
        rating=pl.col("rating"),
        minutes=pl.col("minutes").fill_null(0).cast(pl.UInt16),
        time=pl.col("time").cast(pl.Int64),
    ).sort("user_id", "movie")


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


def encode_lengths(movies: pl.Series, lengths: pl.DataFrame | None) -> NDArray[np.float32] | None:
    """Return the length of each movie [N] in minutes, NaN where unknown; None without lengths."""
    if lengths is None:
        return None
    table = movies.to_frame("movie_id").join(
        lengths, on="movie_id", how="left", maintain_order="left"
    )
    return _to_floats(table["length"]).astype(np.float32)


def _to_floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
