"""Implicit-feedback ALS (Hu, Koren and Volinsky), regularised by the number of events.

The least-squares step is compiled code of `implicit`. Its own model takes one regularisation for
all rows; measured here, `regularization * events ** exponent` (exponent 1 as in Zhou et al.'s
ALS-WR) ranks better. So rows are sorted by their number of events and each run of equal rows is
solved with its own value.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from implicit.cpu import _als
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.params import AlsParams

Floats = NDArray[np.float32]

#: Rows a thread takes at a time.
_PIECE = 2048


@dataclass(frozen=True)
class AlsFactors:
    """The fitted model: the score of movie n for user u is `users[u] @ items[n]`.

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
    # Threads of ours over pieces, each with one thread of BLAS and OpenMP: threads inside threads
    # take ten times as long, and OpenMP's barriers stall when the machine is shared.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in range(params.iterations):
            of_users.solve(users, items, threads)
            of_items.solve(items, users, threads)
            advance()
    return AlsFactors(users, items)


class _Side:
    """One half of a step: all rows of one side, given the other side's factors."""

    def __init__(self, confidence: sparse.csr_array, params: AlsParams) -> None:
        events = np.diff(confidence.indptr)
        self._order = np.argsort(-events, kind="stable")  # the longest first, to end together
        ordered = confidence[self._order]
        self._indptr = ordered.indptr.astype(np.int32)
        self._indices = ordered.indices.astype(np.int32)
        self._data = ordered.data
        self._pieces = list(_pieces(events[self._order], params))

    def solve(self, rows: Floats, others: Floats, threads: Executor) -> None:
        """Replace the factors of all rows by the best ones for `others`."""
        solved = np.empty_like(rows)
        gram = others.T @ others

        def solve_piece(piece: tuple[int, int, float]) -> None:
            begin, end, regularization = piece
            _als._least_squares(
                gram,
                self._indptr[begin : end + 1],
                self._indices,
                self._data,
                solved[begin:end],
                others,
                regularization,
                num_threads=1,
            )

        for _ in threads.map(solve_piece, self._pieces):
            pass
        rows[self._order] = solved


def _pieces(
    events: NDArray[np.integer[Any]], params: AlsParams
) -> Iterator[tuple[int, int, float]]:
    """Runs of rows with equally many events, cut to size: (begin, end, regularisation)."""
    bounds = [0, *(np.flatnonzero(np.diff(events)) + 1).tolist(), len(events)]
    for begin, end in pairwise(bounds):
        regularization = params.regularization * float(events[begin]) ** params.exponent
        for first in range(begin, end, _PIECE):
            yield first, min(first + _PIECE, end), regularization
