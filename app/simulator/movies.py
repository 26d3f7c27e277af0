"""The movies: the sample's, further ones of the same kind, and new ones that come with time."""

import math
from dataclasses import dataclass

import numpy as np

from app.simulator.rng import Purpose, chance
from app.simulator.sample_data import TASTES, Floats, Numbers, Sample
from app.simulator.titles import TITLES, title

DAY = 86_400
#: A new movie is better known than it will be, less so from week to week.
_NOVELTY, _NOVELTY_DAYS = 1.5, 7.0
_FAME_SPREAD = 4
#: New movies are made for this many days, and come no more after that.
MOST_DAYS = 1000


@dataclass(frozen=True)
class Movies:
    """All movies, in the order in which they appear.

    Attributes:
        ids: movie ids.
        tastes: [movies x tastes].
        quality: how good each is to everyone.
        fame: how much it is known, at most 0.
        lengths: in minutes.
        released: when it can be watched, in seconds since the world's start.
        number: movie id -> place in all of these.
    """

    ids: list[str]
    tastes: Floats
    quality: Floats
    fame: Floats
    lengths: Numbers
    released: Floats
    number: dict[str, int]

    def known(self, time: float) -> int:
        """How many movies there are at a time."""
        return int(self.released.searchsorted(time, side="right"))

    def attention(self, time: float) -> Floats:
        """How likely each movie that there is would be found by chance, summed up, ending in 1."""
        known = self.known(time)
        age = np.maximum(0, time - self.released[:known]) / DAY
        new = _NOVELTY * np.exp(-age / _NOVELTY_DAYS) * (self.released[:known] > 0)
        found = np.exp(1.2 * self.fame[:known] + 0.5 * self.quality[:known] + new)
        total: Floats = np.cumsum(found) / found.sum()
        return total


def make_movies(sample: Sample, seed: int, movies: int, new_a_day: float, days: float) -> Movies:
    """The sample's movies, more of them up to `movies`, and new ones for so many days."""
    first = len(sample.movies)
    more = max(0, movies - first)
    new = math.ceil(new_a_day * min(days, MOST_DAYS))
    if first + more + new > TITLES:
        raise ValueError(f"there are titles for {TITLES:,} movies, not for {first + more + new:,}")
    numbers = range(first, first + more + new)
    made = [_movie(chance(seed, Purpose.MOVIE, number), max(movies, first)) for number in numbers]
    tastes, quality, fame, lengths = (
        zip(*made, strict=True) if made else (np.empty((0, TASTES)), (), (), ())
    )
    ids = sample.movies + [title(seed, number) for number in numbers]
    return Movies(
        ids,
        np.vstack([sample.movie_tastes, *tastes]),
        np.append(sample.quality, quality),
        np.append(sample.fame, fame),
        np.append(sample.lengths, lengths).astype(np.int64),
        np.append(np.zeros(first + more), DAY / new_a_day * (1 + np.arange(new)) if new else []),
        {name: number for number, name in enumerate(ids)},
    )


def _movie(own: np.random.Generator, movies: int) -> tuple[Floats, float, float, int]:
    rank = movies * own.random()
    fame = -0.9 * math.log(1 + rank / _FAME_SPREAD)
    return own.normal(size=TASTES), own.normal(0, 0.6), fame, int(own.integers(75, 180))
