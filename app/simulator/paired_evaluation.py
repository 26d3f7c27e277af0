"""Versions compared in truth: the same users, at the same moment, with the same movies behind them.

A later version's users have watched more of what they like best, so its lists are worth less
through no fault of its own. Here both lists of a pair lose the movies their user has watched by the
time of the comparison; what is left, up to 20 movies and equally many of both, is compared user by
user.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from app.model.recommendation_lists import RecommendationLists
from app.simulator.environment import World
from app.simulator.movies import DAY
from app.simulator.rng import Purpose, chance
from app.simulator.sample_data import Floats

LENGTH, DEPTH = 20, 50
#: A version is worse than another only if chance alone would say so less often than this, over all
#: comparisons together (Holm's correction).
SIGNIFICANCE = 0.05

Watched = dict[int, set[int]]
_STEPS = (0, 1, 2, 3, 5, 9, 17, 33, 1000)


def read_watched(world: World, path: Path) -> Watched:
    """Movie numbers by user, from a table of watches."""
    table = pl.read_parquet(path, columns=["user_id", "movie_id"])
    numbers = pl.DataFrame(
        {"movie_id": world.movies.ids, "movie": range(len(world.movies.ids))},
        schema={"movie_id": pl.String, "movie": pl.Int64},
    )
    rows = table.join(numbers, on="movie_id").group_by("user_id").agg("movie").iter_rows()
    return {user: set(movies) for user, movies in rows}


def choose_users(world: World, watched: Watched, count: int) -> list[int]:
    """So many users: those who watched, as they come by chance, then others."""
    own = chance(world.settings.seed, Purpose.PANEL)
    users = np.array(sorted(watched), np.int64)
    own.shuffle(users)
    chosen = dict.fromkeys(users[:count].tolist())
    place = 0
    while len(chosen) < count:
        chosen[world.people.at(place)] = None
        place += 1
    return list(chosen)


def worth_of(world: World, model: Path, users: list[int], watched: Watched, time: float) -> Floats:
    """What a model's lists are truly worth: [users x LENGTH], best first, NaN beyond the end."""
    lists = RecommendationLists.open(model, length=DEPTH)
    number = {name: world.movies.number.get(name, -1) for name in lists.movie_ids}
    worth = np.full((len(users), LENGTH), np.nan)
    for row, user in enumerate(users):
        true = world.utilities(user, time)
        seen = watched.get(user, set())
        movies = [number[name] for name in lists.get(user).text.split(",")]
        left = [movie for movie in movies if 0 <= movie < len(true) and movie not in seen][:LENGTH]
        worth[row, : len(left)] = true[left]
    return worth


def best_of(world: World, users: list[int], watched: Watched, time: float) -> Floats:
    """What the best lists there could be are worth: [users x LENGTH]."""
    best = np.empty((len(users), LENGTH))
    for row, user in enumerate(users):
        true = world.utilities(user, time)
        true[[movie for movie in watched.get(user, ()) if movie < len(true)]] = -np.inf
        best[row] = np.sort(true)[: -LENGTH - 1 : -1]
    return best


def means_of(worth: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Each user's mean in both, over as many places as both lists have; users with none left out.

    A list that is short has fewer bad movies at its end: lists of one length are compared.
    """
    both = ~np.isnan(worth) & ~np.isnan(other)
    some = both.any(axis=1)
    places = both[some].sum(axis=1)
    first, second = (
        np.where(both[some], array[some], 0).sum(axis=1) / places for array in (worth, other)
    )
    return first, second


def compare_models(
    world: World, models: list[Path], users: list[int], watched: Watched, day: float
) -> dict[str, Any]:
    """What `marquee compare-versions` prints.

    Raises:
        ArtifactError: a directory is no complete model.
    """
    time = day * DAY
    best = best_of(world, users, watched, time)
    worths = [worth_of(world, model, users, watched, time) for model in models]
    versions = []
    for model, worth in zip(models, worths, strict=True):
        listed, possible = means_of(worth, best)
        versions.append(
            {
                "model": str(model),
                "listed": round(float(listed.mean()), 5),
                "share_of_best": round(float(listed.sum() / possible.sum()), 5),
            }
        )
    names = [str(model) for model in models]
    return {"users": len(users), "versions": versions, "comparisons": compare(names, worths)}


def compare(names: list[str], worths: list[Floats]) -> list[dict[str, Any]]:
    """Each version with the one before, paired by user; `worse` after Holm's correction."""
    rows: list[dict[str, Any]] = []
    for (before, earlier), (after, later) in pairwise(zip(names, worths, strict=True)):
        first, second = means_of(earlier, later)
        difference = second - first
        mean = float(difference.mean())
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
        rows.append(
            {
                "before": before,
                "after": after,
                "users": len(difference),
                "difference": round(mean, 5),
                "error": round(error, 5),
                "p_worse": float(stats.norm.cdf(mean / error)) if error else 0.5,
            }
        )
    _mark_worse(rows)
    return rows


def _mark_worse(rows: list[dict[str, Any]]) -> None:
    still = True
    for rank, row in enumerate(sorted(rows, key=lambda row: row["p_worse"])):
        still = still and row["p_worse"] < SIGNIFICANCE / (len(rows) - rank)
        row["worse"] = still and row["difference"] < 0


def cold_start(
    world: World, model: Path, users: list[int], watched: Watched, time: float
) -> list[dict[str, Any]]:
    """What lists are worth by the number of movies their users watched, beside the best there is."""
    worth = worth_of(world, model, users, watched, time)
    best = best_of(world, users, watched, time)
    count = np.array([len(watched.get(user, ())) for user in users])
    rows = []
    for low, high in pairwise(_STEPS):
        own = (count >= low) & (count < high)
        listed, possible = means_of(worth[own], best[own])
        if len(listed):
            rows.append(
                {
                    "watched": str(low) if high == low + 1 else f"{low}-{high - 1}",
                    "users": len(listed),
                    "listed": round(float(listed.mean()), 4),
                    "best": round(float(possible.mean()), 4),
                    "share_of_best": round(float(listed.sum() / possible.sum()), 4),
                }
            )
    return rows
