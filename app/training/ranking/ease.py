"""EASE (Steck, 2019): each movie's score is a weighted sum over the movies a user watched.

The weights are the inverse of a movies-by-movies matrix, so memory grows with the square of their
number. Only the `max_movies` most watched movies take part; others are ranked by other scorers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from app.training.params import EaseParams
from app.training.ranking.scorers import Floats

#: Movie numbers that are counted at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class MovieWeights:
    """Weights between `M` movies, of EASE or of transitions.

    Attributes:
        movies: [M] movie numbers, ascending.
        weights: [M, M] float32; see `MovieWeightScorer`.
    """

    movies: NDArray[np.int32]
    weights: Floats


def fit_ease(confidence: sparse.csr_array, params: EaseParams) -> MovieWeights:
    """Fit EASE to confidence values [U, N]; movies without events take no part."""
    movies = most_watched(confidence, params.max_movies)
    return solve_ease(movies, compute_gram(confidence, movies), params)


def compute_gram(confidence: sparse.csr_array, movies: NDArray[np.int32]) -> NDArray[np.float64]:
    """Compute the products [M, M] of the columns of some movies, summed over all users."""
    chosen = confidence[:, movies]
    return np.asarray((chosen.T @ chosen).toarray().astype(np.float64))


def solve_ease(
    movies: NDArray[np.int32], gram: NDArray[np.float64], params: EaseParams
) -> MovieWeights:
    """Return the weights between movies that follow from `compute_gram`, which is overwritten."""
    gram[np.diag_indices_from(gram)] += params.regularization
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    # In C order: otherwise a product with a sparse matrix copies all weights each time.
    weights = (inverse / -np.diag(inverse)).astype(np.float32, order="C")
    np.fill_diagonal(weights, 0)
    return MovieWeights(movies, weights)


def most_watched(confidence: sparse.csr_array, limit: int) -> NDArray[np.int32]:
    """Return the numbers of the most watched movies, ascending; at most `limit`, none unwatched."""
    return select_most_watched(count_movies(confidence.indices, confidence.shape[1]), limit)


def select_most_watched(counts: NDArray[np.int64], limit: int) -> NDArray[np.int32]:
    """Return the same as `most_watched` from the number of events [N] of each movie."""
    watched = int((counts > 0).sum())
    return np.sort(np.argsort(-counts, kind="stable")[: min(limit, watched)]).astype(np.int32)


def count_movies(numbers: NDArray[np.integer], movies: int) -> NDArray[np.int64]:
    """Count how often each movie number occurs; `np.bincount` alone copies all of them."""
    counts = np.zeros(movies, np.int64)
    for first in range(0, len(numbers), _CHUNK):
        counts += np.bincount(numbers[first : first + _CHUNK], minlength=movies)
    return counts
