"""Evaluate a model on held-out events: its recommendations as served, and its rating estimates."""

from dataclasses import dataclass
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
from app.training.ranking_metrics import PerUserMetrics, error_metrics, gini, ranking_metrics
from app.training.svd import SvdModel

_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class MeasuredUsers:
    """A model's recommendations to `Q` users of held-out events, and their metrics.

    Attributes:
        factors: the model's artifact of factors; `N` movies.
        movie_ids: [N] movie ids by movie number.
        user: [Q] the model's number of each user, -1 for an unknown user.
        movie: [E] movie number of each held-out pair, -1 for a movie that the model lacks.
        shown: [Q, k] movie numbers of the first `k` recommended movies; -1 fills up a shorter list.
        metrics: ranking metrics of the users.
        activity: [Q] number of the user's movies in the training data.
    """

    factors: Artifact
    movie_ids: list[str]
    user: NDArray[np.int64]
    movie: NDArray[np.int64]
    shown: NDArray[np.int64]
    metrics: PerUserMetrics
    activity: NDArray[np.int64]


def measure_users(model: Path, held_out: Interactions, k: int) -> MeasuredUsers:
    """Recommend `k` movies to each user of held-out events, as served, and compute the metrics.

    Raises:
        ArtifactError: the model lacks its factors or is not valid.
        TrainingError: the model's lists are shorter than `k`.
    """
    if not (model / FACTORS).is_dir():
        raise ArtifactError(f"{model / FACTORS}: missing: evaluation needs the whole model")
    factors = open_artifact(model / FACTORS, "factors")
    lists = RecommendationLists.open(model, length=k)
    if k > (depth := open_artifact(model / LISTS, "lists").arrays["lists"].shape[1]):
        raise TrainingError(f"the model's lists hold {depth} movies, fewer than --k {k}")
    movie_ids = unpack_movie_ids(factors.arrays["movies"])
    numbers = {movie_id: number for number, movie_id in enumerate(movie_ids)}
    movie = np.array([numbers.get(movie_id, -1) for movie_id in held_out.movies])[held_out.movie]
    shown = _recommend(lists, held_out.users, numbers, k)
    metrics = ranking_metrics(_find_hits(shown, held_out.user, movie), np.diff(held_out.start))
    user = _find_users(factors.arrays["users"], held_out.users)
    activity = _count_movies(factors.arrays["seen_start"], user)
    return MeasuredUsers(factors, movie_ids, user, movie, shown, metrics, activity)


def evaluate(model: Path, held_out: Interactions, k: int) -> dict[str, Any]:
    """Evaluate the first `k` movies of each user's recommendation.

    Returns:
        The metrics that `marquee evaluate` prints; docs/model.md defines each of them.

    Raises:
        ArtifactError: the model lacks its factors or is not valid.
        TrainingError: the model's lists are shorter than `k`.
    """
    measured = measure_users(model, held_out, k)
    user, movie, factors = measured.user, measured.movie, measured.factors
    return {
        "k": k,
        **_rating_metrics(factors, held_out, user[held_out.user], movie),
        **measured.metrics.mean(),
        **_exposure_metrics(measured.shown, factors.arrays["movie_users"]),
        "users": len(user),
        "unknown_users": int((user < 0).sum()),
        "events": len(movie),
        "unknown_events": int((movie < 0).sum()),
        "by_activity": _by_activity(measured.metrics, measured.activity),
    }


def _recommend(
    lists: RecommendationLists, users: NDArray[np.int64], numbers: dict[str, int], k: int
) -> NDArray[np.int64]:
    """Return the movie numbers [Q, k] recommended to each user; -1 fills up a shorter list."""
    shown = np.full((len(users), k), -1, np.int64)
    for row, user in enumerate(users.tolist()):
        text = lists.get(user).text
        movies = [numbers[name] for name in text.split(",")] if text else []
        shown[row, : len(movies)] = movies
    return shown


def _find_hits(
    shown: NDArray[np.int64], user: NDArray[np.int32], movie: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether each recommended movie [Q, k] is among the user's held-out ones."""
    width = int(max(shown.max(initial=-1), movie.max(initial=-1))) + 1
    known = movie >= 0
    relevant = user[known].astype(np.int64) * width + movie[known]
    keys = np.arange(len(shown))[:, None] * width + shown
    return np.isin(keys, relevant) & (shown >= 0)


def _find_users(known: Array, users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the model's number of each user [Q], -1 for an unknown user."""
    rows = np.searchsorted(known, users).clip(max=len(known) - 1)
    return np.where(known[rows] == users, rows, -1)


def _count_movies(start: Array, user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the movies [Q] of each user in the training data."""
    return np.where(user >= 0, np.diff(start)[user], 0)


def _exposure_metrics(shown: NDArray[np.int64], movie_users: Array) -> dict[str, float]:
    movies = shown[shown >= 0]
    exposure = np.bincount(movies, minlength=len(movie_users))
    return {
        "coverage": float((exposure > 0).mean()),
        "gini": gini(exposure),
        "mean_popularity": float(movie_users[movies].mean()) if len(movies) else 0.0,
    }


def _rating_metrics(
    factors: Artifact, held_out: Interactions, user: NDArray[np.int64], movie: NDArray[np.int64]
) -> dict[str, float | None]:
    if "svd_mean" not in factors.arrays:
        return {"rmse": None, "mae": None, "ratings": 0}
    rated = np.isfinite(held_out.rating)
    low, high = factors.manifest.parameters["rating_scale"]
    model = SvdModel.from_arrays(factors.arrays)
    estimate = np.clip(model.estimate(user[rated], movie[rated]), low, high)
    return {**error_metrics(estimate, held_out.rating[rated]), "ratings": int(rated.sum())}


def _by_activity(metrics: PerUserMetrics, activity: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the metrics of each quarter of users, the least active first.

    Users of equal activity are in one quarter, so a quarter may be larger, smaller or empty.
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
