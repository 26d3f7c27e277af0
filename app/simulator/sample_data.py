"""The sample data of `make run`: generated users who watch and rate generated movies.

Movies and users have latent factors; the utility of a movie to a user is the dot product of their
factors plus the movie's quality. Which movies a user watches follows utility and a long-tailed
popularity; how much of them, and the rating, follow utility alone. A model that learns factors
therefore beats a list of popular movies.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Seed of the committed sample, from which every simulated environment starts.
SEED = 8082
N_USERS, N_MOVIES, N_FACTORS = 2_500, 600, 6
_EXAMPLE_USER = 42  # the user id of the README's example
_MEAN_MOVIES_WATCHED = 12
RATED_SHARE = 0.45
#: The sample's watches begin within `DAYS` days from `START`.
START, DAYS = datetime(2026, 9, 1), 60
TITLE_STARTS = [
    "the+silent", "a+golden", "my", "last", "the+broken", "our", "secret", "the+distant",
    "a+perfect", "the+hidden", "lost", "wild", "midnight", "the+final", "cold", "the+crimson",
    "an+ordinary", "the+endless",
]  # fmt: skip
TITLE_NOUNS = [
    "harbour", "winter", "garden", "letter", "promise", "river", "summer", "stranger", "lantern",
    "orchard", "compass", "island", "machine", "whisper", "voyage", "empire", "kitchen", "mirror",
    "shadow", "witness", "bridge", "captain", "detective", "season",
]  # fmt: skip
_TITLE_ENDINGS = [
    "of+the+north", "s+daughter", "in+paris", "returns", "for+two", "without+end", "of+glass",
    "at+dawn", "tonight",
]  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """The users and movies of the sample, with the latent values they were generated from.

    Attributes:
        movies: movie ids, [movies].
        users: user ids, ascending, [users].
        user_factors: [users x factors].
        movie_factors: [movies x factors].
        quality: utility of each movie that is the same for every user, [movies].
        log_popularity: natural logarithm of the relative popularity, at most 0, [movies].
        runtimes: minutes, [movies].
        watches: one row per watched pair; `user` and `movie` are positions in the arrays above.
    """

    movies: list[str]
    users: IntArray
    user_factors: FloatArray
    movie_factors: FloatArray
    quality: FloatArray
    log_popularity: FloatArray
    runtimes: IntArray
    watches: pl.DataFrame


def make_sample(seed: int) -> tuple[Sample, np.random.Generator]:
    """Generate the sample of a seed; also return the generator, which then draws the ratings."""
    rng = np.random.default_rng(seed)
    movies = _movie_ids(rng)
    users = np.sort(rng.choice(np.arange(_EXAMPLE_USER + 1, 1_000_000), N_USERS, replace=False))
    users[0] = _EXAMPLE_USER
    user_factors = rng.normal(size=(N_USERS, N_FACTORS))
    movie_factors = rng.normal(size=(N_MOVIES, N_FACTORS))
    quality = rng.normal(0, 0.6, N_MOVIES)
    log_popularity = -0.9 * np.log(1 + rng.permutation(N_MOVIES) / 4)
    match = user_factors @ movie_factors.T / np.sqrt(N_FACTORS)
    appeal = 1.4 * match + quality + 1.2 * log_popularity
    watches, runtimes = _draw_watches(rng, appeal, match + quality)
    sample = Sample(
        movies, users, user_factors, movie_factors, quality, log_popularity, runtimes, watches
    )
    return sample, rng


def write_sample(directory: Path, seed: int) -> dict[str, int]:
    """Write `ratings.parquet` and `watches.parquet` into a directory; return their row counts."""
    sample, rng = make_sample(seed)
    watches = sample.watches.with_columns(
        user_id=pl.Series(sample.users)[sample.watches["user"]],
        movie_id=pl.Series(sample.movies)[sample.watches["movie"]],
    )
    tables = {"watches": _watch_table(watches), "ratings": _rating_table(rng, watches)}
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(directory / f"{name}.parquet", compression="zstd", statistics=False)
    return {name: table.height for name, table in tables.items()}


def _movie_ids(rng: np.random.Generator) -> list[str]:
    """Ids in the form of the log's: words joined by `+`, then a year."""
    words = [TITLE_STARTS, TITLE_NOUNS, ["", *_TITLE_ENDINGS]]
    ids: dict[str, None] = {}
    while len(ids) < N_MOVIES:
        start, noun, ending = (str(rng.choice(part)) for part in words)
        title = "+".join(part for part in (start, noun, ending) if part)
        ids[f"{title}+{rng.integers(1950, 2026)}"] = None
    return list(ids)


def _draw_watches(
    rng: np.random.Generator, appeal: FloatArray, utility: FloatArray
) -> tuple[pl.DataFrame, IntArray]:
    """Draw the watched pairs and the runtimes (minutes) of the movies.

    Users draw movies without replacement in proportion to exp(appeal) (Gumbel top-k trick).

    Args:
        rng: the sample's generator.
        appeal: [users x movies].
        utility: [users x movies].
    """
    counts = np.clip(rng.lognormal(np.log(_MEAN_MOVIES_WATCHED), 0.7, N_USERS), 2, N_MOVIES / 4)
    order = np.argsort(-(appeal + rng.gumbel(size=appeal.shape)), axis=1)
    user = np.repeat(np.arange(N_USERS), counts.astype(int))
    movie = np.concatenate([row[: int(n)] for row, n in zip(order, counts, strict=True)])
    runtimes = rng.integers(75, 180, N_MOVIES)
    share = 1 / (1 + np.exp(-1.5 * utility[user, movie] - rng.normal(0.8, 0.8, len(user))))
    watches = pl.DataFrame(
        {
            "user": user,
            "movie": movie,
            "utility": utility[user, movie],
            "minutes": np.maximum(1, (runtimes[movie] * share).astype(int)),
            "start": rng.integers(0, DAYS * 86_400, len(user)),
        }
    )
    return watches, runtimes


def _watch_table(watches: pl.DataFrame) -> pl.DataFrame:
    first = pl.lit(START) + pl.duration(seconds="start")
    return watches.select(
        pl.col("user_id").cast(pl.Int64),
        "movie_id",
        pl.col("minutes").cast(pl.UInt16),
        first_time=first.cast(pl.Datetime("us")),
        last_time=(first + pl.duration(minutes=pl.col("minutes") - 1)).cast(pl.Datetime("us")),
    ).sort("user_id", "movie_id")


def _rating_table(rng: np.random.Generator, watches: pl.DataFrame) -> pl.DataFrame:
    utility = watches["utility"].to_numpy()
    stars: npt.NDArray[Any] = np.clip(
        np.rint(2.7 + utility + rng.normal(0, 0.5, len(utility))), 1, 5
    )
    end = pl.duration(seconds=pl.col("start") + 60 * pl.col("minutes"))
    return (
        watches.with_columns(rating=pl.Series(stars, dtype=pl.Float32))
        .filter(pl.Series(rng.random(len(utility)) < RATED_SHARE))
        .select(
            pl.col("user_id").cast(pl.Int64),
            "movie_id",
            "rating",
            time=(pl.lit(START) + end).cast(pl.Datetime("us")),
        )
        .sort("user_id", "movie_id")
    )
