"""Repair movie ids that were corrupted by one inserted character.

Ids are repaired when the store is read, from the number of users of each id in the whole store. So
a repair does not depend on the order of the lines, and improves as the store grows.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from app.ingest import patterns
from app.ingest.log_parser import is_movie_id
from app.ingest.merge import merge_ratings, merge_watches
from app.ingest.schemas import RATINGS, WATCHES, conform

#: A well-formed id is taken for a corrupted one only if another id has this many times its users.
#: Real movies one character apart were seen at a ratio of 2, corrupted ids from a ratio of 583.
MIN_USER_RATIO = 50
#: Maximum number of users of a well-formed id that is taken for a corrupted one ...
MAX_CORRUPTED_USERS = 2
#: ... or, in a very large store where the same corruption occurs twice, its maximum share of the
#: true id's users.
MAX_CORRUPTED_SHARE = 1e-4

_YEAR_SUFFIX = re.compile(r"\+[12][0-9]{3}$")

#: Corrupted id -> true id.
Repairs = dict[str, str]


class RepairCounts(NamedTuple):
    """Stored rows whose movie id was repaired, and rows dropped since theirs cannot be."""

    repaired: int
    dropped: int


def find_repairs(users_by_movie: dict[str, int]) -> Repairs:
    """Map corrupted movie ids to true ones, from the number of users of each id.

    The true id is one character shorter, well formed, occurs itself, and of all that `_is_repair`
    accepts has the most users. Ids that were corrupted twice are followed to the end.
    """
    repairs: Repairs = {}
    for movie, users in users_by_movie.items():
        shorter = {movie[:at] + movie[at + 1 :] for at in range(len(movie))}
        candidates = [
            (users_by_movie[target], target)
            for target in shorter & users_by_movie.keys()
            if _is_repair(movie, users, target, users_by_movie[target])
        ]
        if candidates:
            repairs[movie] = max(candidates)[1]
    for movie, target in repairs.items():
        while target in repairs:  # each step is one character shorter, so this ends
            target = repairs[target]  # noqa: PLW2901
        repairs[movie] = target
    return repairs


def _is_repair(movie: str, users: int, target: str, target_users: int) -> bool:
    """Whether `movie` is `target` with one inserted character.

    An id that no movie can have is certainly corrupted. An id that a movie could have (`aliens`
    beside `alien`) must be rare where the other is frequent, and both must end in a year: numeric
    ids, as MovieLens has them, differ by one digit without any corruption.
    """
    if not is_movie_id(target):
        return False
    if not is_movie_id(movie) or (_YEAR_SUFFIX.search(target) and not _YEAR_SUFFIX.search(movie)):
        return target_users >= users
    if not _YEAR_SUFFIX.search(target) or target_users < MIN_USER_RATIO * users:
        return False
    return users <= MAX_CORRUPTED_USERS or users <= MAX_CORRUPTED_SHARE * target_users


def clean_watches(rows: pl.DataFrame, repairs: Repairs) -> tuple[pl.DataFrame, RepairCounts]:
    """Convert `STORED_WATCHES` to `WATCHES`, sorted by `KEY`, with repaired movie ids."""
    cleaned, counts = _repair_rows(rows, repairs, merge_watches)
    return conform(cleaned.with_columns(pl.col("minutes").list.len()), WATCHES), counts


def clean_ratings(rows: pl.DataFrame, repairs: Repairs) -> tuple[pl.DataFrame, RepairCounts]:
    """Convert `STORED_RATINGS` to `RATINGS`, sorted by `KEY`, with repaired movie ids."""
    cleaned, counts = _repair_rows(rows, repairs, merge_ratings)
    return conform(cleaned, RATINGS), counts


def _repair_rows(
    rows: pl.DataFrame, repairs: Repairs, merge: Callable[[list[pl.DataFrame]], pl.DataFrame]
) -> tuple[pl.DataFrame, RepairCounts]:
    """Replace corrupted ids, drop rows with an invalid one, and merge rows that became equal."""
    movie = pl.col("movie_id")
    is_corrupted = movie.is_in(list(repairs))
    repaired = rows.filter(is_corrupted).with_columns(movie.replace(repairs))
    others = rows.filter(~is_corrupted)
    valid = others.filter(patterns.is_movie_id(movie))
    counts = RepairCounts(repaired.height, others.height - valid.height)
    return (merge([valid, repaired]) if repaired.height else valid), counts
