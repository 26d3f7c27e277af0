"""The movies: those of the sample, further generated ones, and new ones that appear over time."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from app.simulator.rng import Purpose, make_rng
from app.simulator.sample_data import (
    N_FACTORS,
    TITLE_NOUNS,
    TITLE_STARTS,
    FloatArray,
    IntArray,
    Sample,
)

DAY_SECONDS = 86_400
#: A new movie is more popular than it will be later; the boost halves about every five days.
_NOVELTY_BOOST, _NOVELTY_DECAY_DAYS = 1.5, 7.0
_POPULARITY_SPREAD = 4
#: New movies are generated for this many days and stop appearing after that.
MAX_DAYS = 1000

#: Endings of titles beyond the sample's. No such title is in the sample, and none is another one
#: with one more character: the collector would take it for a corrupted id of the other movie.
_TITLE_ENDINGS = (
    "++sons",
    "+and+after",
    "+no.+2",
    "+part+two",
    "+revisited",
    "+s*o*s",
    "+vs.+the+world",
    "-in-law",
    "_+my+love",
    "_+the+reckoning",
)
_TITLE_PARTS = (TITLE_STARTS, TITLE_NOUNS, _TITLE_ENDINGS, range(1950, 2026))
N_TITLES = math.prod(map(len, _TITLE_PARTS))
_TITLE_STRIDE = 100_003  # coprime to N_TITLES: all numbers have different titles


@dataclass(frozen=True)
class Movies:
    """All movies, in order of release; a movie is identified by its index in these arrays.

    Attributes:
        ids: movie ids, [movies].
        factors: latent factors, [movies x factors].
        quality: utility that is the same for every user, [movies].
        log_popularity: natural logarithm of the relative popularity, at most 0, [movies].
        runtimes: minutes, [movies].
        release_times: seconds since the start of the simulation, [movies].
        index: movie id -> its index.
    """

    ids: list[str]
    factors: FloatArray
    quality: FloatArray
    log_popularity: FloatArray
    runtimes: IntArray
    release_times: FloatArray
    index: dict[str, int]

    def count_released(self, time: float) -> int:
        """Return how many movies are out at a time (seconds): those with an index below that."""
        return int(self.release_times.searchsorted(time, side="right"))

    def discovery_cdf(self, time: float) -> FloatArray:
        """Return the cumulative probability that a user discovers each released movie.

        Args:
            time: seconds since the start.

        Returns:
            [released movies], ascending, ending in 1.
        """
        released = self.count_released(time)
        age_days = np.maximum(0, time - self.release_times[:released]) / DAY_SECONDS
        novelty = _NOVELTY_BOOST * np.exp(-age_days / _NOVELTY_DECAY_DAYS)
        novelty *= self.release_times[:released] > 0
        weights = np.exp(
            1.2 * self.log_popularity[:released] + 0.5 * self.quality[:released] + novelty
        )
        cdf: FloatArray = np.cumsum(weights) / weights.sum()
        return cdf


def make_movies(
    sample: Sample, seed: int, n_movies: int, new_per_day: float, days: float
) -> Movies:
    """Generate the movies of a simulation.

    Args:
        sample: its movies come first.
        seed: of all other movies.
        n_movies: movies at the start; never fewer than the sample's.
        new_per_day: movies released each day after the start.
        days: for how long new movies are released, at most `MAX_DAYS`.

    Raises:
        ValueError: there are not enough titles.
    """
    n_sample = len(sample.movies)
    n_further = max(0, n_movies - n_sample)
    n_new = math.ceil(new_per_day * min(days, MAX_DAYS))
    total = n_sample + n_further + n_new
    if total > N_TITLES:
        raise ValueError(f"there are titles for {N_TITLES:,} movies, not for {total:,}")
    numbers = range(n_sample, total)
    made = [_make_movie(seed, number, max(n_movies, n_sample)) for number in numbers]
    factors, quality, log_popularity, runtimes = (
        zip(*made, strict=True) if made else (np.empty((0, N_FACTORS)), (), (), ())
    )
    ids = sample.movies + [make_title(seed, number) for number in numbers]
    release_times = np.zeros(total)
    if n_new:
        release_times[-n_new:] = DAY_SECONDS / new_per_day * (1 + np.arange(n_new))
    return Movies(
        ids,
        np.vstack([sample.movie_factors, *factors]),
        np.append(sample.quality, quality),
        np.append(sample.log_popularity, log_popularity),
        np.append(sample.runtimes, runtimes).astype(np.int64),
        release_times,
        {name: number for number, name in enumerate(ids)},
    )


def _make_movie(seed: int, number: int, n_movies: int) -> tuple[FloatArray, float, float, int]:
    rng = make_rng(seed, Purpose.MOVIE, number)
    log_popularity = -0.9 * math.log(1 + n_movies * rng.random() / _POPULARITY_SPREAD)
    factors, quality = rng.normal(size=N_FACTORS), rng.normal(0, 0.6)
    return factors, quality, log_popularity, int(rng.integers(75, 180))


def make_title(seed: int, number: int) -> str:
    """Return the movie id of one movie beyond the sample's; every number has its own."""
    position = (number * _TITLE_STRIDE + _title_offset(seed)) % N_TITLES
    words = []
    for part in _TITLE_PARTS:
        position, choice = divmod(position, len(part))
        words.append(str(part[choice]))
    start, noun, ending, year = words
    return f"{start}+{noun}{ending}+{year}"


@cache
def _title_offset(seed: int) -> int:
    return int(make_rng(seed, Purpose.TITLE).integers(N_TITLES))
