"""Implicit-feedback ALS (Hu, Koren and Volinsky, 2008), regularised by the number of events.

The regularisation of a row is `regularization * events ** exponent`; an exponent of 1 is ALS-WR
(Zhou et al., 2008). Rows are sorted by their number of events, so that each group of equal rows is
solved with its own regularisation.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.params import AlsParams
from app.training.ranking.least_squares import solve_rows
from app.training.ranking.scorers import Floats

#: Rows that a thread solves in one call.
_CHUNK = 2048


@dataclass(frozen=True)
class AlsFactors:
    """The fitted model: the score of movie n for user u is `users[u] @ movies[n]`.

    Attributes:
        users: [U, F] float32.
        movies: [N, F] float32.
    """

    users: Floats
    movies: Floats


def fit_als(
    confidence: sparse.csr_array,
    params: AlsParams,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> AlsFactors:
    """Fit to confidence values [U, N], each above 0; a pair's weight is `1 + alpha * confidence`.

    The result does not depend on the number of threads: each row is solved by one of them.

    Args:
        confidence: sparse matrix.
        params: parameters of ALS.
        seed: seed of the initial factors.
        advance: called after each iteration.
    """
    random = np.random.default_rng(seed)
    users, movies = (
        np.divide(random.standard_normal((size, params.factors), dtype=np.float32), params.factors)
        for size in confidence.shape
    )
    weights = confidence.copy()
    weights.data = (1 + params.alpha * confidence.data).astype(np.float32)
    user_side, movie_side = _Side(weights, params), _Side(weights.T.tocsr(), params)
    # One thread of BLAS and OpenMP in each of ours: nested threads take ten times as long, and
    # OpenMP's barriers stall on a busy machine.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in range(params.iterations):
            user_side.solve(users, movies, threads)
            movie_side.solve(movies, users, threads)
            advance()
    return AlsFactors(users, movies)


def solve_users(confidence: sparse.csr_array, movies: Floats, params: AlsParams) -> Floats:
    """Return the factors [U, F] of users by their confidence values [U, N], for fitted movies.

    A user without any has factors 0.
    """
    weights = confidence.copy()
    weights.data = (1 + params.alpha * confidence.data).astype(np.float32)
    users = np.zeros((confidence.shape[0], movies.shape[1]), np.float32)
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        _Side(weights, params).solve(users, movies, threads)
    users[np.diff(confidence.indptr) == 0] = 0
    return users


class _Side:
    """All rows of one side (users or movies), to be solved for the factors of the other side."""

    def __init__(self, weights: sparse.csr_array, params: AlsParams) -> None:
        events = np.diff(weights.indptr)
        # The longest rows first: the threads finish at about the same time.
        self._order = np.argsort(-events, kind="stable")
        ordered = weights[self._order]
        self._indptr = ordered.indptr.astype(np.int32)
        self._indices = ordered.indices.astype(np.int32)
        self._data = ordered.data
        self._chunks = list(_split_rows(events[self._order], params))

    def solve(self, rows: Floats, others: Floats, threads: Executor) -> None:
        """Replace the factors of all rows by the least-squares solution for `others`."""
        solved = np.empty_like(rows)
        gram = others.T @ others

        def solve_chunk(chunk: tuple[int, int, float]) -> None:
            first, last, regularization = chunk
            matrix = (self._indptr[first : last + 1], self._indices, self._data)
            solve_rows(gram, matrix, others, regularization, solved[first:last])

        for _ in threads.map(solve_chunk, self._chunks):
            pass
        rows[self._order] = solved


def _split_rows(
    events: NDArray[np.integer[Any]], params: AlsParams
) -> Iterator[tuple[int, int, float]]:
    """Yield chunks of rows with equally many events: first, last + 1, regularisation."""
    bounds = [0, *(np.flatnonzero(np.diff(events)) + 1).tolist(), len(events)]
    for begin, end in pairwise(bounds):
        regularization = params.regularization * float(events[begin]) ** params.exponent
        for first in range(begin, end, _CHUNK):
            yield first, min(first + _CHUNK, end), regularization
