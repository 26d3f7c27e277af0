"""Generate events with long-tailed popularity and activity, and seven groups of tastes.

    python -m bench.training.events DIRECTORY EVENTS USERS MOVIES

Writes `ratings.parquet`, `watches.parquet` (half of the pairs each) and `movies.parquet`. Every
user and movie has an event, and no pair occurs twice.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray


def main() -> None:
    """Write the tables."""
    directory, *numbers = sys.argv[1:]
    write(Path(directory), *map(int, numbers))


def write(directory: Path, events: int, users: int, movies: int) -> None:
    """Write the three tables."""
    random = np.random.default_rng(1)
    pair = _pairs(random, events, users, movies)
    table = pl.DataFrame(
        {
            "user_id": pair // movies,
            "movie": pair % movies,
            "second": random.integers(1_668_000_000, 1_672_000_000, events),
        }
    ).select(
        "user_id",
        movie_id=pl.format("the+movie+number+{}+1999", "movie"),
        time=pl.from_epoch("second").cast(pl.Datetime("us")),
    )
    rated = random.permutation(events) % 2 == 0
    ratings, watches = table.filter(pl.Series(rated)), table.filter(pl.Series(~rated))
    stars = pl.Series(random.integers(1, 6, len(ratings)), dtype=pl.Float32)
    ratings.select("user_id", "movie_id", rating=stars, time="time").write_parquet(
        directory / "ratings.parquet"
    )
    minutes = pl.Series(random.integers(1, 120, len(watches)), dtype=pl.UInt16)
    watches.select(
        "user_id", "movie_id", minutes=minutes, first_time="time", last_time="time"
    ).write_parquet(directory / "watches.parquet")
    names = pl.format("the+movie+number+{}+1999", pl.int_range(movies))
    lengths = pl.Series(random.integers(70, 180, movies), dtype=pl.Int64)
    pl.select(movie_id=names, length=lengths).write_parquet(directory / "movies.parquet")


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
