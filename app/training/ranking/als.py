"""Implicit-feedback ALS (Hu, Koren and Volinsky, 2008), regularised by the number of events.

The regularisation of a row is `regularization * events ** exponent`; an exponent of 1 is ALS-WR
(Zhou et al., 2008). Each iteration solves the least-squares problem of every row exactly, in
batches of rows by NumPy:

- A row of many events has the usual system of F equations.
- A row of `n` events, at most half of F, has an equivalent system of `n` equations (the Woodbury
  identity). Rows of equally many events have the same regularisation, and share what does not
  depend on the row. Most users have few events, so most of the time is saved here.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.mapped_arrays import CreateArray
from app.training.params import AlsParams
from app.training.ranking.scorers import Floats

#: Events whose factors are gathered at a time: with 64 factors 0.5 MB, which stays in the cache.
_BLOCK_EVENTS = 2048
#: Rows of a block at most: their systems, [F, F] each, stay in the cache as well.
_BLOCK_ROWS = 32
#: Rows of few events that one thread solves in one call.
_TASK_ROWS = 16_384


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
    create_array: CreateArray = np.empty,
) -> AlsFactors:
    """Fit to confidence values [U, N], each above 0; a pair's weight is `1 + alpha * confidence`.

    The result does not depend on the number of threads: each row is solved by one of them.

    Args:
        confidence: sparse matrix.
        params: parameters of ALS.
        seed: seed of the initial factors.
        advance: called after each iteration.
        create_array: creates the arrays of the factors.
    """
    random = np.random.default_rng(seed)
    users, movies = (create_array((size, params.factors), np.float32) for size in confidence.shape)
    for factors in (users, movies):
        random.standard_normal(dtype=np.float32, out=factors)
        np.divide(factors, params.factors, out=factors)
    user_side, movie_side = _Side(confidence, params), _Side(confidence.T.tocsr(), params)
    # One thread of BLAS in each of ours: nested threads take ten times as long.
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
    users = np.empty((confidence.shape[0], movies.shape[1]), np.float32)
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        _Side(confidence, params).solve(users, movies, threads)
    return users


class _Task(NamedTuple):
    """Rows that one thread solves: places `first` to `last - 1` in the order by events.

    Attributes:
        first: the first place.
        last: the place after the last one.
        events: events of each of the rows; of the first one where they differ.
        is_short: whether all have equally few events, so that there are as many equations.
    """

    first: int
    last: int
    events: int
    is_short: bool


class _Side:
    """All rows of one side (users or movies), to be solved for the factors of the other side."""

    def __init__(self, confidence: sparse.csr_array, params: AlsParams) -> None:
        self._start, self._indices, self._data = (
            confidence.indptr, confidence.indices, confidence.data,
        )  # fmt: skip
        self._alpha = np.float32(params.alpha)
        events = np.diff(self._start)
        # The longest rows first: the threads finish at about the same time.
        self._order = np.argsort(-events, kind="stable")
        self._events = events[self._order]
        self._regularization = params.regularization * self._events.astype(float) ** params.exponent
        self._tasks = list(_split_rows(self._events, params.factors // 2))

    def solve(self, rows: Floats, others: Floats, threads: Executor) -> None:
        """Replace the factors of all rows by the least-squares solution for `others`."""
        gram = others.T @ others
        rows[self._order[np.searchsorted(-self._events, 0) :]] = 0

        def solve_task(task: _Task) -> None:
            solve = self._solve_short if task.is_short else self._solve_long
            solve(task, rows, others, gram)

        for _ in threads.map(solve_task, self._tasks):
            pass

    def _solve_long(self, task: _Task, rows: Floats, others: Floats, gram: Floats) -> None:
        """Solve `(gram + regularization + Y' alpha C Y) x = Y' w` for each row."""
        chosen = self._order[task.first : task.last]
        factors, count = others.shape[1], self._events[task.first : task.last]
        systems = np.zeros((len(chosen), factors, factors), np.float32)
        right = np.zeros((len(chosen), factors), np.float32)
        for step in range(0, task.events, _BLOCK_EVENTS):
            places = np.arange(step, min(step + _BLOCK_EVENTS, task.events))
            known = places < count[:, None]
            pairs = np.where(known, self._start[chosen][:, None] + places, 0)
            extra = np.where(known, self._alpha * self._data[pairs], 0)
            found = np.take(others, self._indices[pairs], axis=0)
            right += np.matmul(np.where(known, 1 + extra, 0)[:, None], found)[:, 0]
            found *= np.sqrt(extra)[:, :, None]
            systems += np.matmul(found.transpose(0, 2, 1), found)
        systems += gram
        diagonal = np.arange(factors)
        systems[:, diagonal, diagonal] += self._regularization[task.first : task.last, None]
        rows[chosen] = np.linalg.solve(systems, right[:, :, None])[:, :, 0]

    def _solve_short(self, task: _Task, rows: Floats, others: Floats, gram: Floats) -> None:
        """Solve the same as `x = V z`, where `(1 + alpha C K) z = w` and `K = V' A V`.

        `A = gram + regularization` is the same for all rows of the task. With its Cholesky
        factor `L` and `Z = Y L'^-1`, `K = Z Z'` and `x = L'^-1 Z' z`.
        """
        system = gram.astype(np.float64)
        system[np.diag_indices_from(system)] += self._regularization[task.first]
        root = np.linalg.inv(np.linalg.cholesky(system)).T.astype(np.float32)
        places, identity = np.arange(task.events), np.eye(task.events, dtype=np.float32)
        size = max(1, _BLOCK_EVENTS // task.events)
        whole = (task.last - task.first) * task.events >= len(others)
        table = others @ root if whole else others
        for first in range(task.first, task.last, size):
            chosen = self._order[first : min(first + size, task.last)]
            pairs = self._start[chosen][:, None] + places
            extra = self._alpha * self._data[pairs]
            found = np.take(table, self._indices[pairs], axis=0)
            if not whole:
                found = found @ root
            inner = extra[:, :, None] * np.matmul(found, found.transpose(0, 2, 1)) + identity
            z = np.linalg.solve(inner, (1 + extra)[:, :, None])
            rows[chosen] = np.matmul(z.transpose(0, 2, 1), found)[:, 0] @ root.T


def _split_rows(events: NDArray[np.integer[Any]], max_short: int) -> Iterator[_Task]:
    """Yield the tasks for rows with so many events each, sorted from the most to the fewest."""
    first, long = 0, int(np.searchsorted(-events, -max_short))
    while first < long:
        size = min(max(1, _BLOCK_EVENTS // int(events[first])), _BLOCK_ROWS)
        last = min(first + size, long)
        yield _Task(first, last, int(events[first]), is_short=False)
        first = last
    counts = events[long:]
    bounds = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    for begin, end in pairwise(bounds):
        if begin < end and counts[begin] > 0:
            for first in range(begin, end, _TASK_ROWS):
                last = min(first + _TASK_ROWS, end)
                yield _Task(long + first, long + last, int(counts[begin]), is_short=True)
