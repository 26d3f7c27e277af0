"""Paired comparison of model versions by true utility: same users, same time, same watches.

Utilities observed in service are not comparable: users of a later version have already watched
more of their best movies, so its recommendations are worth less to them. Here every version's
list is made for the same users without the movies they have watched by now. Each user's mean
utility is compared over the top `LENGTH` places that both lists fill.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from app.ingest.errors import IngestError
from app.model.recommendation_lists import RecommendationLists
from app.simulator.environment import Environment
from app.simulator.movies import DAY_SECONDS
from app.simulator.rng import Purpose, make_rng
from app.simulator.sample_data import FloatArray

#: Compared places, and the places of a list that are read to fill them.
LENGTH, MAX_LIST_LENGTH = 20, 50
#: Family-wise error rate of all comparisons together (Holm's correction).
SIGNIFICANCE = 0.05

#: User id -> indices of the movies the user has watched.
WatchedMovies = dict[int, set[int]]
_GROUP_BOUNDS = (0, 1, 2, 3, 5, 9, 17, 33, 1000)


def read_watched_movies(environment: Environment, path: Path) -> WatchedMovies:
    """Read a table of watches (`watches.parquet`), without movies the environment lacks.

    Raises:
        IngestError: the file is no such table.
    """
    try:
        table = pl.read_parquet(path, columns=["user_id", "movie_id"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise IngestError(f"{path} is not a table of watches: {error}") from error
    ids = environment.movies.ids
    indices = pl.DataFrame(
        {"movie_id": ids, "movie": range(len(ids))},
        schema={"movie_id": pl.String, "movie": pl.Int64},
    )
    rows = table.join(indices, on="movie_id").group_by("user_id").agg("movie").iter_rows()
    return {user: set(movies) for user, movies in rows}


def select_users(environment: Environment, watched: WatchedMovies, count: int) -> list[int]:
    """Select users at random among those with watches; fill up with others."""
    rng = make_rng(environment.settings.seed, Purpose.EVALUATION_USERS)
    users = np.array(sorted(watched), np.int64)
    rng.shuffle(users)
    selected = dict.fromkeys(users[:count].tolist())
    position = 0
    while len(selected) < count:
        selected[environment.users.id_at(position)] = None
        position += 1
    return list(selected)


def list_utilities(
    environment: Environment, model: Path, users: list[int], watched: WatchedMovies, time: float
) -> FloatArray:
    """Return the true utilities of a model's recommendations, without watched movies.

    Args:
        environment: where utilities come from.
        model: model directory.
        users: user ids.
        watched: movies to leave out.
        time: seconds since the environment's start.

    Returns:
        [users x LENGTH], in the order of the list; NaN beyond its end.

    Raises:
        ArtifactError: the model is missing or damaged.
    """
    lists = RecommendationLists.open(model, length=MAX_LIST_LENGTH)
    index = {movie: environment.movies.index.get(movie, -1) for movie in lists.movie_ids}
    listed = np.full((len(users), LENGTH), np.nan)
    for row, user in enumerate(users):
        utilities = environment.utilities(user, time)
        seen = watched.get(user, set())
        movies = [index[movie] for movie in lists.get(user).text.split(",")]
        new = [m for m in movies if 0 <= m < len(utilities) and m not in seen][:LENGTH]
        listed[row, : len(new)] = utilities[new]
    return listed


def best_utilities(
    environment: Environment, users: list[int], watched: WatchedMovies, time: float
) -> FloatArray:
    """Return the utilities of each user's best unwatched movies, [users x LENGTH], descending."""
    best = np.empty((len(users), LENGTH))
    for row, user in enumerate(users):
        utilities = environment.utilities(user, time)
        utilities[[m for m in watched.get(user, ()) if m < len(utilities)]] = -np.inf
        best[row] = np.sort(utilities)[: -LENGTH - 1 : -1]
    return best


def paired_means(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each user's mean in both arrays, over the places that both lists fill.

    A short list has fewer bad movies at its end, so that lists must be compared at one length.
    Users without a place in common are left out.

    Args:
        first: [users x LENGTH], NaN beyond the end of a list.
        second: likewise.

    Returns:
        Two arrays, [users with a place in common].
    """
    filled = ~np.isnan(first) & ~np.isnan(second)
    compared = filled.any(axis=1)
    lengths = filled[compared].sum(axis=1)
    first_means, second_means = (
        np.where(filled[compared], array[compared], 0).sum(axis=1) / lengths
        for array in (first, second)
    )
    return first_means, second_means


def compare_models(
    environment: Environment,
    models: list[Path],
    users: list[int],
    watched: WatchedMovies,
    day: float,
) -> dict[str, Any]:
    """Return what `marquee compare-versions` prints.

    Raises:
        ArtifactError: a model is missing or damaged.
    """
    time = day * DAY_SECONDS
    best = best_utilities(environment, users, watched, time)
    listed = [list_utilities(environment, model, users, watched, time) for model in models]
    versions = []
    for model, utilities in zip(models, listed, strict=True):
        means, best_means = paired_means(utilities, best)
        versions.append(
            {
                "model": str(model),
                "listed": round(_mean(means), 5),
                "share_of_best": round(_mean(means) / _mean(best_means), 5),
            }
        )
    names = [str(model) for model in models]
    comparisons = compare_consecutive(names, listed)
    return {"users": len(users), "versions": versions, "comparisons": comparisons}


def compare_consecutive(names: list[str], listed: list[FloatArray]) -> list[dict[str, Any]]:
    """Compare each version with the one before, paired by user.

    A version is `worse` by a one-sided test that the mean difference is below 0, with Holm's
    correction over all comparisons.
    """
    rows: list[dict[str, Any]] = []
    for (before, earlier), (after, later) in pairwise(zip(names, listed, strict=True)):
        earlier_means, later_means = paired_means(earlier, later)
        difference = later_means - earlier_means
        mean = _mean(difference)
        standard_error = (
            float(difference.std(ddof=1)) / math.sqrt(len(difference))
            if len(difference) > 1
            else math.nan
        )
        rows.append(
            {
                "before": before,
                "after": after,
                "users": len(difference),
                "difference": round(mean, 5),
                "standard_error": round(standard_error, 5),
                "p_value": float(stats.norm.cdf(mean / standard_error))
                if standard_error > 0
                else 0.5,
            }
        )
    _mark_worse(rows)
    return rows


def _mean(values: FloatArray) -> float:
    """Return the mean; NaN of no values, without NumPy's warning."""
    return float(values.mean()) if len(values) else math.nan


def _mark_worse(rows: list[dict[str, Any]]) -> None:
    """Apply Holm's step-down procedure."""
    rejected = True
    for rank, row in enumerate(sorted(rows, key=lambda row: row["p_value"])):
        rejected = rejected and row["p_value"] < SIGNIFICANCE / (len(rows) - rank)
        row["worse"] = rejected and row["difference"] < 0


def cold_start_report(
    environment: Environment, model: Path, users: list[int], watched: WatchedMovies, time: float
) -> list[dict[str, Any]]:
    """Return mean utilities of a model's and of the best lists by the number of movies watched."""
    listed = list_utilities(environment, model, users, watched, time)
    best = best_utilities(environment, users, watched, time)
    n_watched = np.array([len(watched.get(user, ())) for user in users])
    rows = []
    for low, high in pairwise(_GROUP_BOUNDS):
        group = (n_watched >= low) & (n_watched < high)
        means, best_means = paired_means(listed[group], best[group])
        if len(means):
            rows.append(
                {
                    "watched": str(low) if high == low + 1 else f"{low}-{high - 1}",
                    "users": len(means),
                    "listed": round(float(means.mean()), 4),
                    "best": round(float(best_means.mean()), 4),
                    "share_of_best": round(float(means.sum() / best_means.sum()), 4),
                }
            )
    return rows
