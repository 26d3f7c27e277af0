"""What a scorer is, and the two kinds there are."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Spreads below this are rounding; such a row says nothing about the order of movies.
NO_SPREAD = 1e-6


class Scorer(Protocol):
    """Gives scores that can be added up.

    For each user the scores have standard deviation 1 over all movies, or are all equal when the
    scorer knows nothing about the user. Their level is arbitrary: it changes no order.
    """

    def scores(self, first: int, last: int) -> Floats:
        """Scores [last - first, N] float32 for the users numbered `first` to `last - 1`."""
        ...


class FactorScorer:
    """Scores that are products of factors, from matrix factorisation.

    The spread of a user's scores over all movies follows from the movies' covariance [F, F], so no
    pass over all scores is needed to standardise them.

    Args:
        users: [U, F] factors; all 0 for a user the model does not know.
        items: [N, F] factors.
    """

    def __init__(self, users: Floats, items: Floats) -> None:
        self._users, self._items = users, items
        self._covariance = np.cov(items, rowvar=False, bias=True).reshape(items.shape[1], -1)

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        users = self._users[first:last]
        spread = np.sqrt(np.einsum("uf,fg,ug->u", users, self._covariance, users, optimize=True))
        scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > NO_SPREAD)
        scores: Floats = (users * scale[:, None]).astype(np.float32) @ self._items.T
        return scores


class SameForAllScorer:
    """The same scores for every user, such as popularity.

    Args:
        scores: [N] one per movie.
    """

    def __init__(self, scores: NDArray[np.float64]) -> None:
        spread = float(scores.std())
        scaled = (scores - scores.mean()) / (spread if spread > NO_SPREAD else 1)
        self._scores = scaled.astype(np.float32)

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        return np.tile(self._scores, (last - first, 1))
