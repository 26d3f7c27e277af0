"""Repair movie ids that were corrupted by one inserted character.

Ids are repaired when the store is read, from the number of users of each id in the whole store. So
a repair does not depend on the order of the lines, and improves as the store grows. Repairs are
computed for the ids that are read, not kept for all ids: a damaged stream has millions of them.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
import polars as pl

from app.ingest import patterns
from app.ingest.merge import merge_ratings, merge_watches
from app.ingest.movie_counts import COMMON_USERS, INVALID, WITH_YEAR, MovieCounts
from app.ingest.schemas import RATINGS, WATCHES, conform

#: A well-formed id is taken for a corrupted one only if another id has this many times its users.
#: Real movies one character apart were seen at a ratio of 2, corrupted ids from a ratio of 583.
MIN_USER_RATIO = 50
#: Maximum number of users of a well-formed id that is taken for a corrupted one ...
MAX_CORRUPTED_USERS = 2
#: ... or, in a very large store where the same corruption occurs twice, its maximum share of the
#: true id's users.
MAX_CORRUPTED_SHARE = 1e-4

#: Bytes of the ids that are repaired at once, which need up to 100 times as many. A bucket of a
#: month with 10 % damage has about one million.
_CHUNK_BYTES = 2_000_000
_CHUNK_IDS = 20_000

#: Corrupted id -> true id.
Repairs = dict[str, str]


class RepairCounts(NamedTuple):
    """Stored rows whose movie id was repaired, and rows dropped since theirs cannot be."""

    repaired: int
    dropped: int


def find_repairs(users_by_movie: Mapping[str, int]) -> Repairs:
    """Map corrupted movie ids to true ones, from the number of users of each id."""
    counts = MovieCounts()
    counts.add(
        pl.Series(users_by_movie.keys(), dtype=pl.String),
        pl.Series(users_by_movie.values(), dtype=pl.UInt32),
    )
    return find_repairs_of(users_by_movie, counts)


def find_repairs_of(ids: Iterable[str], counts: MovieCounts) -> Repairs:
    """Map those of some movie ids that are corrupted to the true ones."""
    repairs: Repairs = {}
    iterator = iter(ids)
    while chunk := list(islice(iterator, _CHUNK_IDS)):
        series = pl.Series(chunk, dtype=pl.String)
        targets = repair_ids(series, counts)
        is_repaired = targets.is_not_null()
        repairs.update(zip(series.filter(is_repaired), targets.filter(is_repaired), strict=True))
    return repairs


def repair_ids(ids: pl.Series, counts: MovieCounts) -> pl.Series:
    """Return the true id of each movie id that is corrupted, null for the others.

    The true id is one character shorter, well formed, occurs itself, and of all that
    `_select_repairs` accepts has the most users. Ids that were corrupted twice are followed to the
    end.
    """
    rows = pl.Series(np.arange(len(ids)))
    max_users = max(MAX_CORRUPTED_USERS, MAX_CORRUPTED_SHARE * counts.max_users)
    if max_users < COMMON_USERS:
        rows = rows.filter(~counts.is_common(ids))  # most ids of a bucket end here
    chunk = (ids[rows].str.len_bytes().cum_sum() // _CHUNK_BYTES).rename("chunk")
    parts = pl.DataFrame({"row": rows, "movie": ids[rows], "chunk": chunk}).partition_by("chunk")
    found = [_repair_chunk(part["row"], part["movie"], counts, max_users) for part in parts]
    targets = _place(found, len(ids))
    different = targets.drop_nulls().unique()
    if different.is_empty():
        return targets
    again = repair_ids(different, counts)  # each step is one character shorter, so this ends
    is_again = again.is_not_null()
    if not is_again.any():
        return targets
    return targets.replace(different.filter(is_again), again.filter(is_again))


def _place(found: list[pl.DataFrame], length: int) -> pl.Series:
    """Return the targets at their rows, null in the others."""
    pairs = pl.concat([pl.DataFrame(schema={"row": pl.Int64, "target": pl.String}), *found])
    numbers = np.full(length, pairs.height, np.int64)
    numbers[pairs["row"].to_numpy()] = np.arange(pairs.height)
    return pl.concat([pairs["target"], pl.Series([None], dtype=pl.String)]).gather(numbers)


def _repair_chunk(
    rows: pl.Series, ids: pl.Series, counts: MovieCounts, max_users: float
) -> pl.DataFrame:
    """Return the row and the true id (`target`) of each corrupted id."""
    users, forms = counts.look_up(ids)
    is_odd = forms != WITH_YEAR
    is_rare = ~is_odd & (users <= max_users)
    movies = pl.DataFrame({"row": rows, "movie": ids, "users": users, "form": forms})
    pairs = _select_repairs(
        pl.concat(
            [
                _find_pairs(movies[np.flatnonzero(is_odd)], counts, 1),
                _find_pairs(movies[np.flatnonzero(is_rare)], counts, MIN_USER_RATIO),
            ]
        )
    ).select("row", "target", "target_users")
    is_only = ~pairs["row"].is_duplicated()
    best = pairs.filter(~is_only).sort("row", "target_users", "target").unique("row", keep="last")
    return pl.concat([pairs.filter(is_only), best]).select("row", "target")


def _find_pairs(movies: pl.DataFrame, counts: MovieCounts, min_users: int) -> pl.DataFrame:
    """Join ids with the valid ones of at least `min_users` that lack one of their characters."""
    found = counts.find_deletions(movies["movie"], min_users)
    movie, at = pl.col("movie"), pl.col("at")
    return (
        movies[found.row]
        .with_columns(at=found.position, target_users=found.users, target_form=found.form)
        .with_columns(target=movie.str.slice(0, at) + movie.str.slice(at + 1))
    )


def _select_repairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Select the pairs of which the first id is the second with one inserted character.

    An id that no movie can have is certainly corrupted. An id that a movie could have (`aliens`
    beside `alien`) must be rare where the other is frequent, and both must end in a year: numeric
    ids, as MovieLens has them, differ by one digit without any corruption.
    """
    users, target_users, form = pl.col("users"), pl.col("target_users"), pl.col("form")
    target_has_year = pl.col("target_form") == WITH_YEAR
    is_impossible = (form == INVALID) | (target_has_year & (form != WITH_YEAR))
    is_rare = (users <= MAX_CORRUPTED_USERS) | (users <= MAX_CORRUPTED_SHARE * target_users)
    is_frequent = target_users >= MIN_USER_RATIO * users
    return pairs.filter(
        pl.when(is_impossible)
        .then(target_users >= users)
        .otherwise(target_has_year & is_frequent & is_rare)
    )


def clean_watches(rows: pl.DataFrame, counts: MovieCounts) -> tuple[pl.DataFrame, RepairCounts]:
    """Convert `STORED_WATCHES` to `WATCHES`, sorted by `KEY`, with repaired movie ids."""
    cleaned, repair_counts = _repair_rows(rows, counts, merge_watches)
    return conform(cleaned.with_columns(pl.col("minutes").list.len()), WATCHES), repair_counts


def clean_ratings(rows: pl.DataFrame, counts: MovieCounts) -> tuple[pl.DataFrame, RepairCounts]:
    """Convert `STORED_RATINGS` to `RATINGS`, sorted by `KEY`, with repaired movie ids."""
    cleaned, repair_counts = _repair_rows(rows, counts, merge_ratings)
    return conform(cleaned, RATINGS), repair_counts


def _repair_rows(
    rows: pl.DataFrame, counts: MovieCounts, merge: Callable[[list[pl.DataFrame]], pl.DataFrame]
) -> tuple[pl.DataFrame, RepairCounts]:
    """Replace corrupted ids, drop rows with an invalid one, and merge rows that became equal."""
    movie = pl.col("movie_id")
    ids = rows["movie_id"].unique()
    targets = repair_ids(ids, counts)
    corrupted, targets = ids.filter(targets.is_not_null()), targets.drop_nulls()
    is_corrupted = movie.is_in(corrupted.implode())
    repaired = rows.filter(is_corrupted).with_columns(movie.replace(corrupted, targets))
    others = rows.filter(~is_corrupted)
    valid = others.filter(patterns.is_movie_id(movie))
    repair_counts = RepairCounts(repaired.height, others.height - valid.height)
    return (merge([valid, repaired]) if repaired.height else valid), repair_counts
