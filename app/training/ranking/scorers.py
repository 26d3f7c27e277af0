"""Scorers rank movies for users; a blend is their weighted sum."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.errors import TrainingError

Floats = NDArray[np.float32]
#: One weight for all users, or [U] one for each.
Weight = float | Floats

#: A smaller standard deviation is rounding error: the scores do not order the movies.
_MIN_SPREAD = 1e-6


class Scorer(Protocol):
    """Computes scores that can be added up.

    For each user the scores have standard deviation 1 over all movies, or are all equal when the
    scorer has no data about the user. Their mean is arbitrary: it does not affect the order.
    """

    def scores(self, first: int, last: int) -> Floats:
        """Return a new array of scores [last - first, N] for the users `first` to `last - 1`."""
        ...


class BlendScorer(Scorer, Protocol):
    """A scorer that can be part of a blend."""

    def add_scores(self, first: int, last: int, weight: Floats, total: Floats) -> None:
        """Add the scores of the users `first` to `last - 1` to `total`, each times a weight.

        Args:
            first: number of the first user.
            last: number after the last user.
            weight: [last - first, 1] or [1, 1].
            total: [last - first, N].
        """
        ...


class FactorScorer:
    """Products of user and movie factors, from a matrix factorisation.

    The standard deviation of a user's scores follows from the covariance [F, F] of the movie
    factors, so that standardising needs no pass over all scores.

    Args:
        users: [U, F] factors; all 0 for a user that the model does not know.
        movies: [N, F] factors.
    """

    def __init__(self, users: Floats, movies: Floats) -> None:
        self._users, self._movies = users, movies
        self._covariance = np.cov(movies, rowvar=False, bias=True).reshape(movies.shape[1], -1)

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        users = self._users[first:last]
        spread = np.sqrt(np.einsum("uf,fg,ug->u", users, self._covariance, users, optimize=True))
        scores: Floats = (users * _invert(spread)[:, None]).astype(np.float32) @ self._movies.T
        return scores

    def add_scores(self, first: int, last: int, weight: Floats, total: Floats) -> None:
        """See `BlendScorer.add_scores`."""
        scores = self.scores(first, last)
        if not (weight == 1).all():
            scores *= weight
        total += scores


class Watched(Protocol):
    """How much each watched movie counts, as a matrix [U, N] of which rows can be read."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of movies."""
        ...

    def __getitem__(self, rows: slice) -> sparse.csr_array:
        """Return the rows of some users."""
        ...


class MovieWeightScorer:
    """Weighted sums over the movies that a user has watched, by weights between movies.

    Movies outside the model have score 0.

    Args:
        watched: [U, N] how much each watched movie counts.
        movies: [M] numbers of the movies in the model.
        weights: [M, M] the score of the movie `movies[j]` is `watched[:, movies] @ weights[:, j]`.
    """

    def __init__(self, watched: Watched, movies: NDArray[np.int32], weights: Floats) -> None:
        self._size = watched.shape[1]
        self._index = np.full(self._size, -1, np.int32)
        self._index[movies] = np.arange(len(movies))
        self._watched, self._movies, self._weights = watched, movies, weights

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        scores = np.zeros((last - first, self._size), np.float32)
        scores[:, self._movies] = self._compute_part(first, last)
        return scores

    def add_scores(self, first: int, last: int, weight: Floats, total: Floats) -> None:
        """See `BlendScorer.add_scores`."""
        total[:, self._movies] += self._compute_part(first, last) * weight

    def _compute_part(self, first: int, last: int) -> Floats:
        """Return the scores [last - first, M] of the movies in the model."""
        part = self._select(self._watched[first:last]) @ self._weights
        mean = part.sum(axis=1) / self._size
        variance = np.einsum("uf,uf->u", part, part) / self._size - mean**2
        part *= _invert(np.sqrt(np.maximum(variance, 0)))[:, None]
        return np.asarray(part)

    def _select(self, rows: sparse.csr_array) -> sparse.csr_array:
        """Return the columns of the movies in the model; no more rows are copied than needed."""
        columns = self._index[rows.indices]
        inside = columns >= 0
        counts = np.concatenate([[0], np.cumsum(inside, dtype=np.int32)])
        return sparse.csr_array(
            (rows.data[inside], columns[inside], counts[rows.indptr]),
            shape=(rows.shape[0], len(self._movies)),
        )


class SameForAllScorer:
    """The same scores for every user, such as popularity.

    Args:
        scores: [N] one per movie.
    """

    def __init__(self, scores: NDArray[np.float64]) -> None:
        spread = float(scores.std())
        scaled = (scores - scores.mean()) / (spread if spread > _MIN_SPREAD else 1)
        self._scores = scaled.astype(np.float32)

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        return np.tile(self._scores, (last - first, 1))

    def add_scores(self, first: int, last: int, weight: Floats, total: Floats) -> None:
        """See `BlendScorer.add_scores`."""
        total += weight * self._scores


class Blend:
    """The weighted sum of several scorers.

    Args:
        parts: scorers with their weights; a scorer of weight 0 is not computed.

    Raises:
        TrainingError: no scorer has a weight above 0.
    """

    def __init__(self, parts: Sequence[tuple[Weight, BlendScorer]]) -> None:
        self._parts = [(weight, scorer) for weight, scorer in parts if np.any(weight)]
        if not self._parts:
            raise TrainingError("blend: every scorer that this input allows has weight 0")

    def scores(self, first: int, last: int) -> Floats:
        """Return scores [last - first, N] for the users numbered `first` to `last - 1`."""
        (weight, scorer), *others = self._parts
        total = scorer.scores(first, last)
        total *= _get_weights(weight, first, last)
        for weight, scorer in others:
            scorer.add_scores(first, last, _get_weights(weight, first, last), total)
        return total


def _get_weights(weight: Weight, first: int, last: int) -> Floats:
    """Return the weights [last - first, 1] of some users, or the one [1, 1] of all."""
    if isinstance(weight, np.ndarray):
        return weight[first:last, None]
    return np.full((1, 1), weight, np.float32)


def _invert(spread: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.divide(1, spread, out=np.zeros_like(spread), where=spread > _MIN_SPREAD))
