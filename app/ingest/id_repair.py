"""Movie ids damaged by one inserted character, and what they were.

Repair happens when the store is read, from how often each id occurs in the whole of it. So it does
not depend on the order in which lines came, and gets better as the store grows.
"""

import re
from collections import Counter
from typing import NamedTuple

import polars as pl

from app.ingest.log_parser import is_movie_id
from app.ingest.store import Snapshot

#: A well-formed id is taken for a damaged one only beside an id that so many times more users
#: chose. Real movies one character apart were seen at 2 to 1, damaged ids from 583 to 1.
FAR_MORE = 50
#: Users of a well-formed id up to which it may be damage ...
FEW_USERS = 2
#: ... or, in a very large store where the same damage strikes twice, its share of the true id's.
DAMAGED_SHARE = 1e-4

_YEAR = re.compile(r"\+[12][0-9]{3}$")

Repairs = dict[str, str]


class StoreCounts(NamedTuple):
    """Rows in a store, one per user and movie, and the number of users by movie id as received."""

    watches: int
    ratings: int
    users: dict[str, int]


def count_store(view: Snapshot) -> StoreCounts:
    """Count, in one pass over the buckets."""
    watches = ratings = 0
    users: Counter[str] = Counter()
    for bucket in view.buckets:
        watched, rated = view.keys("watches", bucket), view.keys("ratings", bucket)
        watches += watched.height
        ratings += rated.height
        keys = pl.concat([watched, rated]).unique() if rated.height else watched
        # Python's own numbers: a frame would keep the bucket's texts in memory, which it shares.
        users.update(dict(keys.group_by("movie_id").len().iter_rows()))
    return StoreCounts(watches, ratings, dict(users))


def find_repairs(users: dict[str, int]) -> Repairs:
    """Damaged id to true id, from the number of users by id.

    The true id is one character shorter, well formed, occurs itself, and is the most frequent
    of those that convince (see `_convinces`). Ids damaged twice are followed to the end.
    """
    repairs: Repairs = {}
    for movie, seen in users.items():
        shorter = {movie[:at] + movie[at + 1 :] for at in range(len(movie))} & users.keys()
        found = [(users[c], c) for c in shorter if _convinces(movie, seen, c, users[c])]
        if found:
            repairs[movie] = max(found)[1]
    for movie, target in repairs.items():
        while target in repairs:  # each step is one character shorter, so this ends
            target = repairs[target]  # noqa: PLW2901
        repairs[movie] = target
    return repairs


def _convinces(movie: str, seen: int, target: str, target_seen: int) -> bool:
    """Whether `movie`, which `seen` users chose, is `target` with one character too many.

    An id that no movie can have is damaged for sure. One that a movie could have (`aliens` beside
    `alien`) must be rare where the other is frequent, and both must carry a year: numbers as ids,
    as MovieLens has them, are one digit apart without any damage.
    """
    if not is_movie_id(target):
        return False
    if not is_movie_id(movie) or (_YEAR.search(target) and not _YEAR.search(movie)):
        return target_seen >= seen
    if not _YEAR.search(target) or target_seen < FAR_MORE * seen:
        return False
    return seen <= FEW_USERS or seen <= DAMAGED_SHARE * target_seen
