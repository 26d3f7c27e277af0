"""The sample that `make run` learns from: made people with tastes, watching and rating made movies.

Movies and users have latent tastes; a movie's appeal to a user is their product plus the movie's
quality and its long-tailed popularity. Who watches what follows appeal, how long and how well it
is rated follow taste and quality: enough structure that a model which learns beats popularity.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

#: Seed of the sample that is committed, and of the world that grows from it.
SEED = 8082
USERS, MOVIES, TASTES = 2_500, 600, 6
_MEAN_MOVIES_WATCHED = 12
_RATED_SHARE = 0.45
START, DAYS = datetime(2026, 9, 1), 60
FIRST = [
    "the+silent",
    "a+golden",
    "my",
    "last",
    "the+broken",
    "our",
    "secret",
    "the+distant",
    "a+perfect",
    "the+hidden",
    "lost",
    "wild",
    "midnight",
    "the+final",
    "cold",
    "the+crimson",
    "an+ordinary",
    "the+endless",
]
SECOND = [
    "harbour",
    "winter",
    "garden",
    "letter",
    "promise",
    "river",
    "summer",
    "stranger",
    "lantern",
    "orchard",
    "compass",
    "island",
    "machine",
    "whisper",
    "voyage",
    "empire",
    "kitchen",
    "mirror",
    "shadow",
    "witness",
    "bridge",
    "captain",
    "detective",
    "season",
]
_THIRD = " of+the+north s+daughter in+paris returns for+two without+end of+glass at+dawn tonight"


@dataclass(frozen=True)
class Sample:
    """The people and movies of the sample, and what is true of them.

    Attributes:
        movies: ids, [movies].
        users: ids, ascending, [users].
        user_tastes: [users x tastes].
        movie_tastes: [movies x tastes].
        quality: how good each movie is to everyone.
        fame: how much each movie is known, at most 0.
        lengths: of each movie, in minutes.
        watches: one row per user and movie, both as numbers.
    """

    movies: list[str]
    users: Numbers
    user_tastes: Floats
    movie_tastes: Floats
    quality: Floats
    fame: Floats
    lengths: Numbers
    watches: pl.DataFrame


def make_sample(seed: int) -> tuple[Sample, np.random.Generator]:
    """The sample of a seed, and the chance that goes on from there to who rates what."""
    chance = np.random.default_rng(seed)
    movies = _movie_ids(chance)
    users = np.sort(chance.choice(np.arange(43, 1_000_000), USERS, replace=False))
    users[0] = 42  # the one that the README asks for
    user_tastes = chance.normal(size=(USERS, TASTES))
    movie_tastes = chance.normal(size=(MOVIES, TASTES))
    quality = chance.normal(0, 0.6, MOVIES)
    fame = -0.9 * np.log(1 + chance.permutation(MOVIES) / 4)
    match = user_tastes @ movie_tastes.T / np.sqrt(TASTES)
    watches, lengths = _watches(chance, 1.4 * match + quality + 1.2 * fame, match + quality)
    made = Sample(movies, users, user_tastes, movie_tastes, quality, fame, lengths, watches)
    return made, chance


def write_sample(directory: Path, seed: int) -> dict[str, int]:
    """Write `ratings.parquet` and `watches.parquet` into a directory; returns their rows."""
    sample, chance = make_sample(seed)
    watches = sample.watches.with_columns(
        user_id=pl.Series(sample.users)[sample.watches["user"]],
        movie_id=pl.Series(sample.movies)[sample.watches["movie"]],
    )
    tables = {"watches": _watch_table(watches), "ratings": _rating_table(chance, watches)}
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(directory / f"{name}.parquet", compression="zstd", statistics=False)
    return {name: table.height for name, table in tables.items()}


def _movie_ids(chance: np.random.Generator) -> list[str]:
    """Ids that look like the stream's: words joined by `+`, then a year."""
    words = [FIRST, SECOND, ["", *_THIRD.split()]]
    seen: dict[str, None] = {}
    while len(seen) < MOVIES:
        first, second, third = (str(chance.choice(part)) for part in words)
        title = "+".join(part for part in (first, second, third) if part)
        seen[f"{title}+{chance.integers(1950, 2026)}"] = None
    return list(seen)


def _watches(
    chance: np.random.Generator, appeal: Floats, liking: Floats
) -> tuple[pl.DataFrame, Numbers]:
    """One row per watched movie, and the movies' lengths; `appeal`, `liking`: [users x movies].

    Users draw without replacement, by appeal (Gumbel's trick).
    """
    counts = np.clip(chance.lognormal(np.log(_MEAN_MOVIES_WATCHED), 0.7, USERS), 2, MOVIES / 4)
    drawn = np.argsort(-(appeal + chance.gumbel(size=appeal.shape)), axis=1)
    user = np.repeat(np.arange(USERS), counts.astype(int))
    movie = np.concatenate([row[: int(n)] for row, n in zip(drawn, counts, strict=True)])
    lengths = chance.integers(75, 180, MOVIES)
    finished = 1 / (1 + np.exp(-1.5 * liking[user, movie] - chance.normal(0.8, 0.8, len(user))))
    watches = pl.DataFrame(
        {
            "user": user,
            "movie": movie,
            "liking": liking[user, movie],
            "minutes": np.maximum(1, (lengths[movie] * finished).astype(int)),
            "start": chance.integers(0, DAYS * 86_400, len(user)),
        }
    )
    return watches, lengths


def _watch_table(watches: pl.DataFrame) -> pl.DataFrame:
    first = pl.lit(START) + pl.duration(seconds="start")
    return watches.select(
        pl.col("user_id").cast(pl.Int64),
        "movie_id",
        pl.col("minutes").cast(pl.UInt16),
        first_time=first.cast(pl.Datetime("us")),
        last_time=(first + pl.duration(minutes=pl.col("minutes") - 1)).cast(pl.Datetime("us")),
    ).sort("user_id", "movie_id")


def _rating_table(chance: np.random.Generator, watches: pl.DataFrame) -> pl.DataFrame:
    liked = watches["liking"].to_numpy()
    stars: npt.NDArray[Any] = np.clip(
        np.rint(2.7 + liked + chance.normal(0, 0.5, len(liked))), 1, 5
    )
    after = pl.duration(seconds=pl.col("start") + 60 * pl.col("minutes"))
    return (
        watches.with_columns(rating=pl.Series(stars, dtype=pl.Float32))
        .filter(pl.Series(chance.random(len(liked)) < _RATED_SHARE))
        .select(
            pl.col("user_id").cast(pl.Int64),
            "movie_id",
            "rating",
            time=(pl.lit(START) + after).cast(pl.Datetime("us")),
        )
        .sort("user_id", "movie_id")
    )
