"""EASE (Steck, 2019): each movie's score is a weighted sum over the movies a user watched.

The weights between all movies are one inverse of a movies-by-movies matrix, so the memory it takes
grows with the square of the catalogue. Only the `max_movies` most watched movies take part; the
others are left to the other scorers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from app.training.params import EaseParams
from app.training.ranking.scorer import NO_SPREAD, Floats


@dataclass(frozen=True)
class EaseWeights:
    """The fitted model, over `M` movies.

    Attributes:
        movies: [M] their movie numbers, ascending.
        weights: [M, M] float32; the score of movie j is `strengths @ weights[:, j]`.
    """

    movies: NDArray[np.int32]
    weights: Floats


def fit_ease(strengths: sparse.csr_array, params: EaseParams) -> EaseWeights:
    """Fit on strengths [U, N]; movies without events take no part."""
    movies = most_watched(strengths, params.max_movies)
    taken = strengths[:, movies]
    gram = (taken.T @ taken).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += params.regularization
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    # In rows, as a product with a sparse matrix needs it; else it copies all weights each time.
    weights = (inverse / -np.diag(inverse)).astype(np.float32, order="C")
    np.fill_diagonal(weights, 0)
    return EaseWeights(movies, weights)


def most_watched(strengths: sparse.csr_array, limit: int) -> NDArray[np.int32]:
    """Numbers of the most watched movies, ascending: at most `limit`, none without events."""
    counts = np.bincount(strengths.indices, minlength=strengths.shape[1])
    watched = int((counts > 0).sum())
    return np.sort(np.argsort(-counts, kind="stable")[: min(limit, watched)]).astype(np.int32)


class EaseScorer:
    """See `Scorer`; movies outside the model get the user's lowest possible interest, 0.

    Args:
        strengths: [U, N] what each user watched.
        model: the fitted weights.
    """

    def __init__(self, strengths: sparse.csr_array, model: EaseWeights) -> None:
        self._items = strengths.shape[1]
        self._taken = strengths[:, model.movies]
        self._model = model

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        part = self._taken[first:last] @ self._model.weights
        mean = part.sum(axis=1) / self._items
        spread = np.sqrt(np.maximum(np.einsum("uf,uf->u", part, part) / self._items - mean**2, 0))
        scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > NO_SPREAD)
        scores = np.zeros((last - first, self._items), np.float32)
        scores[:, self._model.movies] = part * scale[:, None]
        return scores
