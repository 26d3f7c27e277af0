"""Events as numbers: one row per user and movie, both counted from 0."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.training.errors import TrainingError

_DAY = 86_400_000_000  # microseconds
_EPOCH = datetime(1970, 1, 1)
_PAIR = ["user_id", "movie_id"]


@dataclass(frozen=True)
class Interactions:
    """Who watched or rated what, sorted by user and movie; `E` pairs, `U` users, `N` movies.

    Attributes:
        users: [U] user ids, ascending.
        items: [N] movie ids, ascending.
        start: [U + 1] where each user's pairs begin.
        item: [E] movie numbers.
        rating: [E] float32, NaN where there is none.
        minutes: [E] distinct minutes watched, 0 where nothing was watched.
        days: [E] age in days before the newest pair; NaN where the time is not known.
        length: [N] float32, the movie's length in minutes, NaN where it is not known; None when
            no lengths were given.
        newest: time of the newest pair, None when no time is known.
    """

    users: NDArray[np.int64]
    items: list[str]
    start: NDArray[np.int64]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]
    minutes: NDArray[np.uint16]
    days: NDArray[np.float64]
    length: NDArray[np.float32] | None
    newest: datetime | None

    @property
    def user(self) -> NDArray[np.int32]:
        """[E] user numbers."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.start))

    def describe(self) -> dict[str, Any]:
        """Counts, time range and `data_hash`, a SHA-256 of the content of all arrays."""
        digest = hashlib.sha256("\n".join(self.items).encode())
        for array in (self.users, self.start, self.item, self.rating, self.minutes, self.days):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self.newest).encode())
        if self.length is not None:
            digest.update(self.length.tobytes())
        span = None if self.newest is None else float(np.nanmax(self.days))
        return {
            "data_hash": digest.hexdigest(),
            "users": len(self.users),
            "movies": len(self.items),
            "pairs": len(self.item),
            "ratings": int(np.isfinite(self.rating).sum()),
            "watches": int((self.minutes > 0).sum()),
            "lengths": 0 if self.length is None else int(np.isfinite(self.length).sum()),
            "newest": None if self.newest is None else self.newest.isoformat(),
            "days": span if span is None else round(span, 3),
        }


def number_events(
    ratings: pl.DataFrame | None,
    watches: pl.DataFrame | None,
    lengths: pl.DataFrame | None = None,
) -> Interactions:
    """Join ratings and watches to one row per user and movie, and number both.

    Where a pair occurs twice in one table, its newest row counts. `lengths` holds movies' lengths
    in minutes (movie_id, length).

    Raises:
        TrainingError: no events at all, a rating that is not a finite number, or a movie id that
            cannot stand in an answer.
    """
    pairs = _join(ratings, watches)
    if pairs.is_empty():
        raise TrainingError("no events: neither a rating nor a watch to learn from")
    items = pairs["movie_id"].unique().sort()
    _check_items(items)
    users = pairs["user_id"].unique().sort()
    pairs = pairs.select(
        user=pl.col("user_id").replace_strict(
            users, pl.int_range(len(users), dtype=pl.Int32, eager=True)
        ),
        item=pl.col("movie_id").cast(pl.Enum(items)).to_physical().cast(pl.Int32),
        rating=pl.col("rating"),
        minutes=pl.col("minutes").fill_null(0).cast(pl.UInt16),
        time=pl.col("time").cast(pl.Int64),
    ).sort("user", "item")
    return _finish(pairs, users.to_numpy(), items.to_list(), _lengths(items, lengths))


def _lengths(items: pl.Series, lengths: pl.DataFrame | None) -> NDArray[np.float32] | None:
    if lengths is None:
        return None
    table = items.to_frame("movie_id").join(
        lengths, on="movie_id", how="left", maintain_order="left"
    )
    return _floats(table["length"]).astype(np.float32)


def _join(ratings: pl.DataFrame | None, watches: pl.DataFrame | None) -> pl.DataFrame:
    rated = pl.DataFrame(schema={**_KEYS, "rating": pl.Float32, "time": _TIME})
    if ratings is not None:
        if not ratings["rating"].is_finite().fill_null(value=False).all():
            raise TrainingError("ratings: a rating is not a finite number")
        rated = _newest(ratings.select(*_PAIR, pl.col("rating").cast(pl.Float32), "time"), "time")
    watched = pl.DataFrame(schema={**_KEYS, "minutes": pl.UInt16, "last_time": _TIME})
    if watches is not None:
        watched = _newest(watches.select(*_PAIR, "minutes", "last_time"), "last_time")
    return rated.join(watched, on=_PAIR, how="full", coalesce=True).with_columns(
        time=pl.max_horizontal("time", "last_time")
    )


_TIME = pl.Datetime("us")
_KEYS = {"user_id": pl.Int64, "movie_id": pl.String}


def _newest(table: pl.DataFrame, time: str) -> pl.DataFrame:
    for column in _PAIR:
        if table[column].null_count():
            raise TrainingError(f"a row without {column}")
    if table.select(pl.struct(_PAIR).is_duplicated().any()).item():
        table = table.sort(time, nulls_last=False, maintain_order=True).unique(
            _PAIR, keep="last", maintain_order=True
        )
    return table


def _check_items(items: pl.Series) -> None:
    bad = items.filter(~items.str.contains(r"^[^\s,\x00-\x1f\x7f]+$"))
    if len(bad):
        raise TrainingError(f"not a movie id: {str(bad[0])[:80]!r}")


def _finish(
    pairs: pl.DataFrame,
    users: NDArray[np.int64],
    items: list[str],
    length: NDArray[np.float32] | None,
) -> Interactions:
    counts = np.bincount(pairs["user"].to_numpy(), minlength=len(users))
    time = _floats(pairs["time"])
    known = bool(np.isfinite(time).any())
    newest = float(np.nanmax(time)) if known else np.nan
    return Interactions(
        users=users,
        items=items,
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item=pairs["item"].to_numpy(),
        rating=_floats(pairs["rating"]).astype(np.float32),
        minutes=pairs["minutes"].to_numpy(),
        days=(newest - time) / _DAY,
        length=length,
        newest=_EPOCH + timedelta(microseconds=int(newest)) if known else None,
    )


def _floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
