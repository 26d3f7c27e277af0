"""The movies that go best with each movie, by EASE and transitions: what recent events rank by."""

import numpy as np
from numpy.typing import NDArray

from app.model.recent_ranking import RecentParams
from app.model.recommendation_lists import movie_number_dtype
from app.training.ranking.ease import MovieWeights
from app.training.ranking.scorers import Floats
from app.training.top_n import top_k

#: Rows that are computed at a time.
_BLOCK = 256


def compute_related(
    ease: MovieWeights | None, transitions: MovieWeights | None, movies: int, params: RecentParams
) -> tuple[NDArray[np.unsignedinteger], Floats]:
    """Return the related movies [N, K] of each movie, best first, and their weights.

    The weights of both models are standardised by their root mean square over all pairs of movies
    and added, those of EASE times `ease_share`. Negative weights count as 0. Movies that neither
    model has, and those of weight 0, are left out: N and weight 0 fill up a row.
    """
    count = params.related_movies
    related = np.full((movies, count), movies, movie_number_dtype(movies))
    weights = np.zeros((movies, count), np.float32)
    shares = ((ease, params.ease_share), (transitions, 1 - params.ease_share))
    parts = [(model, share / _spread(model)) for model, share in shares if model and share > 0]
    if not parts:
        return related, weights
    chosen = np.unique(np.concatenate([model.movies for model, _ in parts]))
    for first in range(0, len(chosen), _BLOCK):
        rows = chosen[first : first + _BLOCK]
        scores = np.zeros((len(rows), movies), np.float32)
        for model, factor in parts:
            has, index = _find_rows(model, rows)
            columns = np.maximum(model.weights[index], 0) * np.float32(factor)
            scores[np.ix_(has, model.movies)] += columns
        scores[np.arange(len(rows)), rows] = 0
        scores[scores <= 0] = -np.inf
        best = top_k(scores, count)
        related[rows] = best
        found = np.take_along_axis(scores, np.minimum(best, movies - 1), axis=1)
        weights[rows] = np.where(best < movies, found, 0)
    return related, weights


def _spread(model: MovieWeights) -> float:
    """Return the root mean square of the weights above 0."""
    total = sum(
        float(np.square(np.maximum(model.weights[first : first + _BLOCK], 0)).sum())
        for first in range(0, len(model.weights), _BLOCK)
    )
    return float(np.sqrt(total / model.weights.size)) or 1.0


def _find_rows(
    model: MovieWeights, movies: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which of the movies the model has, and their rows in it."""
    index = np.searchsorted(model.movies, movies).clip(max=len(model.movies) - 1)
    has = np.flatnonzero(model.movies[index] == movies)
    return has, index[has]
