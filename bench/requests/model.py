"""Models of any size with random lists of realistic movie ids; cached in `build/bench`.

They have the parts for recent events: random related movies, and ten movies seen by each user.
"""

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.model.artifact import ModelMetadata, create_array, write_array, write_manifest
from app.model.manifest import FORMAT
from app.model.recommendation_lists import LISTS, movie_number_dtype, pack_movie_ids

Ids = npt.NDArray[np.int64]
ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"
DEPTH = 50
#: User ids are random numbers below this, so that a look-up has to search.
MAX_USER_ID = 10_000_000
_BLOCK = 100_000
_SEEN = 10
#: The first so many known users have recent events in the file of recent activity.
RECENT_USERS = 20_000
#: Time of the newest event of training.
NEWEST = datetime(2026, 5, 1)
#: The values of params.yaml; reading them would import what a service does not.
_RECENT = {
    "related_movies": 64, "ease_share": 0.4, "max_movies": 16, "half_life_movies": 5,
    "half_life_hours": 0.5, "max_disliked": 0.25, "lowest_weight": 0.5, "full_minutes": 60,
    "list": 0.3, "list_few": 0.1, "popularity": 0.2, "popularity_few": 0.4,
}  # fmt: skip
_WORDS = [
    "the", "of", "and", "last", "dark", "blue", "city", "night", "king", "lost", "little",
    "great", "man", "woman", "road", "star", "river", "house", "summer", "winter", "autumn",
    "return", "secret", "children", "dead", "silent", "broken", "golden", "american", "midnight",
    "paradise", "shadow", "garden", "letter", "bridge", "island", "memory",
]  # fmt: skip


def movie_ids(movies: int) -> list[str]:
    """Movie ids like those of the event log: words of a title joined by `+`, then the year."""
    random = np.random.default_rng(2)
    words = random.choice(_WORDS, (movies, 4))
    counts = random.integers(1, 5, movies)
    return [
        f"{'+'.join(row[:count])}+{number}+{1920 + number % 100}"
        for number, (row, count) in enumerate(zip(words.tolist(), counts, strict=True))
    ]


def user_ids(random: np.random.Generator, users: int) -> Ids:
    """Random distinct user ids, ascending."""
    return np.sort(random.choice(MAX_USER_ID, users, replace=False)).astype(np.int64)


def make_model(users: int, movies: int) -> Path:
    """Make a model directory with a list for each user; kept for the next run."""
    model = BUILD / f"model-{FORMAT}-{users}-{movies}"
    if model.exists():
        return model
    lists = BUILD / "unfinished" / LISTS
    shutil.rmtree(lists.parent, ignore_errors=True)
    lists.mkdir(parents=True)
    random, dtype = np.random.default_rng(1), movie_number_dtype(movies)
    write_array(lists, "movies", pack_movie_ids(movie_ids(movies)))
    write_array(lists, "users", user_ids(random, users))
    rows = create_array(lists, "lists", dtype, (users, DEPTH))
    for start in range(0, users, _BLOCK):
        # A random start and a random stride: the movies of a list are distinct and spread out.
        block = rows[start : start + _BLOCK]
        first = random.integers(movies, size=(len(block), 1))
        stride = random.integers(1, movies // DEPTH, size=(len(block), 1))
        block[:] = (first + stride * np.arange(DEPTH)) % movies
    write_array(lists, "popular", random.permutation(movies).astype(dtype))
    write_array(lists, "segment_users", np.empty(0, np.int64))
    write_array(lists, "segment_of", np.empty(0, np.uint8))
    write_array(lists, "segment_popular", np.empty((0, DEPTH), dtype))
    _write_recent_parts(lists, random, users, movies)
    metadata = ModelMetadata(
        version=1,
        parameters={"recent": _RECENT, "rating_scale": [1, 5]},
        metrics={},
        data={"source": "random", "newest": NEWEST.isoformat()},
        code={},
    )
    write_manifest(lists, "lists", users=users, movies=movies, metadata=metadata)
    return lists.parent.rename(model)


def _write_recent_parts(lists: Path, random: np.random.Generator, users: int, movies: int) -> None:
    dtype = movie_number_dtype(movies)
    scores = create_array(lists, "list_scores", np.float16, (users, DEPTH))
    for start in range(0, users, _BLOCK):
        scores[start : start + _BLOCK] = np.linspace(1, 0, DEPTH)
    write_array(lists, "popularity", random.normal(size=movies).astype(np.float32))
    write_array(lists, "seen_start", np.arange(users + 1) * _SEEN)
    first = random.integers(movies - _SEEN, size=(users, 1))
    write_array(lists, "seen_movies", (first + np.arange(_SEEN)).astype(dtype).ravel())
    steps = 1 + random.permutation(movies - 1)[: _RECENT["related_movies"]]
    numbers = (np.arange(movies)[:, None] + steps) % movies
    write_array(lists, "related_movies", numbers.astype(dtype))
    weights = np.linspace(1, 0.1, len(steps), dtype=np.float32)
    write_array(lists, "related_weights", np.tile(weights, (movies, 1)))


def sample_users(model: Path, count: int, seed: int, limit: int | None = None) -> Ids:
    """Sample known users uniformly, with replacement; only the first `limit` of them."""
    known = np.load(model / LISTS / "users.npy", mmap_mode="r")[:limit]
    sample: Ids = np.random.default_rng(seed).choice(known, count)
    return sample
