"""Implicit-feedback ALS (Hu, Koren and Volinsky), regularised by the number of events.

The least-squares step is compiled code of `implicit`. Its own model takes one regularisation for
all rows; measured here, `regularization * events ** exponent` (exponent 1 as in Zhou et al.'s
ALS-WR) ranks better. So rows are sorted by their number of events and each run of equal rows is
solved with its own value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from implicit.cpu import _als
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.params import AlsParams

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AlsFactors:
    """The fitted model: the score of film n for user u is `users[u] @ items[n]`.

    Attributes:
        users: [U, F] float32.
        items: [N, F] float32.
    """

    users: Floats
    items: Floats


def fit_als(
    weights: sparse.csr_array,
    params: AlsParams,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> AlsFactors:
    """Fit on weights [U, N], each above 0; the confidence of a pair is `1 + alpha * weight`.

    The same on any number of threads: each row is solved by one of them, by the same steps.
    """
    random = np.random.default_rng(seed)
    users, items = (
        np.divide(random.standard_normal((size, params.factors), dtype=np.float32), params.factors)
        for size in weights.shape
    )
    confidence = weights.copy()
    confidence.data = (1 + params.alpha * weights.data).astype(np.float32)
    of_users, of_items = _Side(confidence, params), _Side(confidence.T.tocsr(), params)
    with threadpool_limits(1, "blas"):  # threads inside threads take ten times as long
        for _ in range(params.iterations):
            of_users.solve(users, items)
            of_items.solve(items, users)
            advance()
    return AlsFactors(users, items)


class _Side:
    """One half of a step: all rows of one side, given the other side's factors."""

    def __init__(self, confidence: sparse.csr_array, params: AlsParams) -> None:
        events = np.diff(confidence.indptr)
        self._order = np.argsort(events, kind="stable")
        self._sorted = confidence[self._order]
        self._indptr = self._sorted.indptr.astype(np.int32)
        self._indices = self._sorted.indices.astype(np.int32)
        counts, first = np.unique(events[self._order], return_index=True)
        bounds = [*first.tolist(), len(events)]
        self._runs = [
            (begin, end, params.regularization * float(count) ** params.exponent)
            for count, begin, end in zip(counts, bounds, bounds[1:], strict=False)
        ]

    def solve(self, rows: Floats, others: Floats) -> None:
        """Replace the factors of all rows by the best ones for `others`."""
        solved = np.zeros_like(rows)
        gram = others.T @ others
        for begin, end, regularization in self._runs:
            _als._least_squares(
                gram,
                self._indptr[begin : end + 1],
                self._indices,
                self._sorted.data,
                solved[begin:end],
                others,
                regularization,
            )
        rows[self._order] = solved
