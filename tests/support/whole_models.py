"""Models with given lists, written without training: lists and factors."""

from pathlib import Path
from typing import Literal

import numpy as np

from app.model.artifact import Array, ModelMetadata, write_array, write_manifest
from app.model.recommendation_lists import movie_number_dtype, pack_movie_ids

NEWEST = "2026-05-01T12:00:00"
DEPTH = 20


def write_whole_model(
    directory: Path,
    movies: list[str],
    lists: dict[int, list[int]],
    *,
    popular: list[int] | None = None,
    movie_users: list[int] | None = None,
    seen: dict[int, int] | None = None,
    parameters: dict[str, object] | None = None,
) -> Path:
    """Write a model whose users have these lists.

    Args:
        directory: where to write it.
        movies: movie ids.
        lists: user id -> movie numbers, best first; at most `DEPTH`.
        popular: all movie numbers, the most popular first.
        movie_users: users of each movie in training.
        seen: user id -> number of movies that the user has watched in training; 1 by default.
        parameters: of the manifest.
    """
    dtype, users = movie_number_dtype(len(movies)), sorted(lists)
    rows = np.full((len(users), DEPTH), len(movies), dtype)
    for row, user in enumerate(users):
        rows[row, : len(lists[user])] = lists[user]
    counts = [(seen or {}).get(user, 1) for user in users]
    order = popular if popular is not None else list(range(len(movies)))
    shared = {"movies": pack_movie_ids(movies), "users": np.array(users, np.int64)}
    arrays: dict[Literal["lists", "factors"], dict[str, Array]] = {
        "lists": {
            **shared,
            "lists": rows,
            "popular": np.array(order, dtype),
            "segment_users": np.empty(0, np.int64),
            "segment_of": np.empty(0, np.uint8),
            "segment_popular": np.empty((0, DEPTH), dtype),
        },
        "factors": {
            **shared,
            "movie_users": np.array(movie_users or [1] * len(movies), np.int64),
            "seen_start": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "seen_movies": np.zeros(sum(counts), np.int32),
        },
    }
    data = {"pairs": 4, "users": 4, "movies": 60, "ratings": 4, "newest": NEWEST,
            "data_hash": "0" * 64}  # fmt: skip
    metadata = ModelMetadata(0, parameters or {}, {}, data, {})
    for kind, content in arrays.items():
        (directory / kind).mkdir(parents=True)
        for name, array in content.items():
            write_array(directory / kind, name, array)
        write_manifest(directory / kind, kind, len(users), len(movies), metadata)
    return directory
