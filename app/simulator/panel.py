"""Versions compared in truth: the same users, at the same moment, with the same films behind them.

A later version's users have watched more of what they like best, so its lists are worth less
through no fault of its own. Here both lists of a pair lose the films their user has watched by the
time of the comparison, and what is left of them, up to 20 films, is compared user by user.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from app.model.lists import RecommendationLists
from app.simulator.chance import Purpose, chance
from app.simulator.films import DAY
from app.simulator.sample import Floats
from app.simulator.world import World

LENGTH, DEPTH = 20, 50
#: A version is worse than another only if chance alone would say so less often than this, over all
#: comparisons together (Holm's correction).
SIGNIFICANCE = 0.05

Watched = dict[int, set[int]]


def read_watched(world: World, path: Path) -> Watched:
    """Film numbers by user, from a table of watches."""
    table = pl.read_parquet(path, columns=["user_id", "movie_id"])
    numbers = pl.DataFrame(
        {"movie_id": world.films.ids, "film": range(len(world.films.ids))},
        schema={"movie_id": pl.String, "film": pl.Int64},
    )
    rows = table.join(numbers, on="movie_id").group_by("user_id").agg("film").iter_rows()
    return {user: set(films) for user, films in rows}


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
    """What a model's lists are truly worth to each user on average; NaN where nothing is left."""
    lists = RecommendationLists.open(model, length=DEPTH)
    numbers = [world.films.number.get(name, -1) for name in lists.names]
    by_name = dict(zip(lists.names, numbers, strict=True))
    worth = np.full(len(users), np.nan)
    for row, user in enumerate(users):
        true = world.utilities(user, time)
        seen = watched.get(user, set())
        films = [by_name[name] for name in lists.answer(user).text.split(",")]
        left = [film for film in films if 0 <= film < len(true) and film not in seen][:LENGTH]
        if left:
            worth[row] = true[left].mean()
    return worth


def compare_models(
    world: World, models: list[Path], users: list[int], watched: Watched, day: float
) -> dict[str, Any]:
    """What `marquee compare-versions` prints.

    Raises:
        ArtifactError: a directory is no complete model.
    """
    time = day * DAY
    best = np.array([_best(world, user, watched.get(user, set()), time) for user in users])
    worths = {str(model): worth_of(world, model, users, watched, time) for model in models}
    versions = {
        name: {
            "listed": round(float(np.nanmean(worth)), 5),
            "share_of_best": round(float(np.nansum(worth) / best[~np.isnan(worth)].sum()), 5),
        }
        for name, worth in worths.items()
    }
    return {"users": len(users), "versions": versions, "comparisons": compare(worths)}


def compare(worths: dict[str, Floats]) -> list[dict[str, Any]]:
    """Each version with the one before, paired by user; `worse` after Holm's correction."""
    names = list(worths)
    rows: list[dict[str, Any]] = []
    for before, after in pairwise(names):
        difference = worths[after] - worths[before]
        difference = difference[~np.isnan(difference)]
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
        mean = float(difference.mean())
        z = mean / error if error else 0.0
        rows.append(
            {
                "before": before,
                "after": after,
                "users": len(difference),
                "difference": round(mean, 5),
                "error": round(error, 5),
                "p_worse": float(stats.norm.cdf(z)),
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
    """What lists are worth by the number of films their users watched, beside the best there is."""
    worth = worth_of(world, model, users, watched, time)
    best = np.array([_best(world, user, watched.get(user, set()), time) for user in users])
    count = np.array([len(watched.get(user, set())) for user in users])
    rows = []
    edges = [0, 1, 2, 3, 5, 9, 17, 33, 1 << 30]
    for low, high in pairwise(edges):
        own = (count >= low) & (count < high) & ~np.isnan(worth)
        if own.any():
            rows.append(
                {
                    "watched": str(low) if high == low + 1 else f"{low}-{high - 1}",
                    "users": int(own.sum()),
                    "listed": round(float(worth[own].mean()), 4),
                    "best": round(float(best[own].mean()), 4),
                    "share_of_best": round(float(worth[own].mean() / best[own].mean()), 4),
                }
            )
    return rows


def _best(world: World, user: int, seen: set[int], time: float) -> float:
    """The mean of the best list there could be."""
    true = world.utilities(user, time)
    true[[film for film in seen if film < len(true)]] = -np.inf
    return float(np.sort(true)[-LENGTH:].mean())
