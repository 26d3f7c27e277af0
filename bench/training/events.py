"""Generate events with long-tailed popularity and activity, and seven groups of tastes.

    python -m bench.training.events DIRECTORY EVENTS USERS MOVIES

Writes `ratings.parquet`, `watches.parquet` (half of the pairs each) and `movies.parquet`. Every
user and movie has an event, and no pair occurs twice.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.ingest.segment import to_arrow

#: Pairs that are written at a time.
_BLOCK = 2_000_000


def main() -> None:
    """Write the tables."""
    directory, *numbers = sys.argv[1:]
    write(Path(directory), *map(int, numbers))


def write(directory: Path, events: int, users: int, movies: int) -> None:
    """Write the three tables, sorted by user, in blocks: at 100,000,000 events in 3 GB."""
    random = np.random.default_rng(1)
    pair = _pairs(random, events, users, movies)
    second = random.integers(1_668_000_000, 1_672_000_000, events).astype(np.uint32)
    rated = random.permutation(events) % 2 == 0
    stars = random.integers(1, 6, int(rated.sum())).astype(np.uint8)
    minutes = random.integers(1, 120, events - len(stars)).astype(np.uint8)
    names = pl.select(pl.format("the+movie+number+{}+1999", pl.int_range(movies))).to_series()
    with ExitStack() as files:
        ratings = _Table(directory / "ratings.parquet", files)
        watches = _Table(directory / "watches.parquet", files)
        for first in range(0, events, _BLOCK):
            block = slice(first, first + _BLOCK)
            table = pl.DataFrame(
                {
                    "user_id": pair[block] // movies,
                    "movie_id": names.gather(pair[block] % movies),
                    "time": pl.from_epoch(pl.Series(second[block])).cast(pl.Datetime("us")),
                }
            )
            is_rated = pl.Series(rated[block])
            ratings.write(_rate(table.filter(is_rated), stars[ratings.rows :]))
            watches.write(_watch(table.filter(~is_rated), minutes[watches.rows :]))
    lengths = pl.Series(random.integers(70, 180, movies), dtype=pl.Int64)
    pl.select(movie_id=names, length=lengths).write_parquet(directory / "movies.parquet")


def _rate(table: pl.DataFrame, stars: NDArray[np.uint8]) -> pl.DataFrame:
    rating = pl.Series(stars[: table.height]).cast(pl.Float32)
    return table.select("user_id", "movie_id", rating=rating, time="time")


def _watch(table: pl.DataFrame, minutes: NDArray[np.uint8]) -> pl.DataFrame:
    watched = pl.Series(minutes[: table.height]).cast(pl.UInt16)
    return table.select("user_id", "movie_id", minutes=watched, first_time="time", last_time="time")


class _Table:
    """A Parquet file that is written in blocks.

    Attributes:
        rows: number of rows that are written.
    """

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.rows = 0
        self._path, self._files = path, files
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pl.DataFrame) -> None:
        """Append rows."""
        rows = to_arrow(table)
        if self._writer is None:
            self._writer = self._files.enter_context(pq.ParquetWriter(self._path, rows.schema))
        self._writer.write_table(rows)
        self.rows += table.height


def _pairs(random: np.random.Generator, events: int, users: int, movies: int) -> NDArray[np.int64]:
    """Return different pairs, ascending, as `user * movies + movie`; all users and movies occur."""
    activity = random.pareto(1.5, users) + 0.05
    chosen = np.cumsum(activity) / activity.sum()
    movie = _movies(random, np.arange(users), movies)
    movie[:movies] = random.permutation(movies)[:users]
    first = np.arange(users) * movies + movie
    pairs = np.unique(first)
    while len(pairs) < events:
        missing = int((events - len(pairs)) * 1.1) + 100
        user = np.searchsorted(chosen, random.random(missing)).clip(max=users - 1)
        new = np.setdiff1d(user * movies + _movies(random, user, movies), pairs)
        pairs = np.union1d(pairs, random.permutation(new)[: events - len(pairs)])
    return pairs


def _movies(random: np.random.Generator, user: NDArray[np.int64], movies: int) -> NDArray[np.int64]:
    place = np.minimum(random.pareto(0.6, len(user)) * 20, movies - 1).astype(np.int64)
    return (place * (1 + user % 7)) % movies


if __name__ == "__main__":
    main()
