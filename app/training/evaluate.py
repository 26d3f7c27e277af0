"""Held-out events against a model's lists as they are served, and its rating estimates."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.model.artifact import Array, Artifact, open_artifact
from app.model.manifest import ArtifactError
from app.model.recommendation_lists import LISTS, RecommendationLists, unpack_movie_ids
from app.model.verify import FACTORS
from app.training.errors import TrainingError
from app.training.interactions import Interactions
from app.training.metrics import PerUser, error_metrics, gini, rank_metrics
from app.training.svd import RatingModel

_QUARTILES = (0.25, 0.5, 0.75)


def evaluate(model: Path, held_out: Interactions, k: int) -> dict[str, Any]:
    """Score the first `k` movies of each user's answer; returns what `marquee evaluate` prints.

    Raises:
        ArtifactError: the model lacks its factors or cannot be used.
        TrainingError: the model's lists are shorter than `k`.
    """
    if not (model / FACTORS).is_dir():
        raise ArtifactError(f"{model / FACTORS}: missing; evaluation needs the whole model")
    factors = open_artifact(model / FACTORS, "factors")
    lists = RecommendationLists.open(model, length=k)
    if k > (depth := open_artifact(model / LISTS, "lists").arrays["lists"].shape[1]):
        raise TrainingError(f"the model's lists hold {depth} movies, fewer than {k}")
    names = unpack_movie_ids(factors.arrays["movies"])
    numbers = {name: number for number, name in enumerate(names)}
    movie = np.array([numbers.get(name, -1) for name in held_out.items])[held_out.item]
    shown = _answers(lists, held_out.users, numbers, k)
    metrics = rank_metrics(_hits(shown, held_out.user, movie), np.diff(held_out.start))
    user = _rows(factors.arrays["users"], held_out.users)
    activity = _activity(factors.arrays["seen_start"], user)
    return {
        "k": k,
        **_estimate(factors, held_out, user[held_out.user], movie),
        **metrics.mean(),
        **_exposure(shown, factors.arrays["item_users"]),
        "users": len(user),
        "strangers": int((user < 0).sum()),
        "events": len(movie),
        "unknown_events": int((movie < 0).sum()),
        "by_activity": _by_activity(metrics, activity),
    }


def _answers(
    lists: RecommendationLists, users: NDArray[np.int64], numbers: dict[str, int], k: int
) -> NDArray[np.int64]:
    """What each user is shown: [Q, k] movie numbers, -1 where the answer has ended."""
    shown = np.full((len(users), k), -1, np.int64)
    for row, user in enumerate(users.tolist()):
        text = lists.get(user).text
        movies = [numbers[name] for name in text.split(",")] if text else []
        shown[row, : len(movies)] = movies
    return shown


def _hits(
    shown: NDArray[np.int64], user: NDArray[np.int32], movie: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """[Q, k] whether the movie shown is among the user's held-out ones."""
    width = int(max(shown.max(initial=-1), movie.max(initial=-1))) + 1
    known = movie >= 0
    relevant = user[known].astype(np.int64) * width + movie[known]
    keys = np.arange(len(shown))[:, None] * width + shown
    return np.isin(keys, relevant) & (shown >= 0)


def _rows(known: Array, users: NDArray[np.int64]) -> NDArray[np.int64]:
    """The model's number of each user, -1 for a stranger."""
    rows = np.searchsorted(known, users).clip(max=len(known) - 1)
    return np.where(known[rows] == users, rows, -1)


def _activity(start: Array, user: NDArray[np.int64]) -> NDArray[np.int64]:
    """[Q] how many movies of each user the model was trained on."""
    return np.where(user >= 0, np.diff(start)[user], 0)


def _exposure(shown: NDArray[np.int64], item_users: Array) -> dict[str, float]:
    movies = shown[shown >= 0]
    exposure = np.bincount(movies, minlength=len(item_users))
    return {
        "coverage": float((exposure > 0).mean()),
        "gini": gini(exposure),
        "mean_popularity": float(item_users[movies].mean()) if len(movies) else 0.0,
    }


def _estimate(
    factors: Artifact, held_out: Interactions, user: NDArray[np.int64], movie: NDArray[np.int64]
) -> dict[str, float | None]:
    if "svd_mean" not in factors.arrays:
        return {"rmse": None, "mae": None, "ratings": 0}
    rated = np.isfinite(held_out.rating)
    low, high = factors.manifest.parameters["rating_scale"]
    model = RatingModel.from_arrays(factors.arrays)
    estimate = np.clip(model.estimate(user[rated], movie[rated]), low, high)
    return {**error_metrics(estimate, held_out.rating[rated]), "ratings": int(rated.sum())}


def _by_activity(metrics: PerUser, activity: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The metrics of each quarter of users, least active first.

    Users of equal activity are never divided, so a quarter may be larger, smaller or empty.
    """
    quarter = np.searchsorted(np.quantile(activity, _QUARTILES), activity)
    return [
        {
            "quartile": number + 1,
            "users": int(chosen.sum()),
            "events": [int(activity[chosen].min()), int(activity[chosen].max())]
            if chosen.any()
            else None,
            **metrics.mean(chosen),
        }
        for number in range(4)
        for chosen in [quarter == number]
    ]
