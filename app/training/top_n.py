"""Compute the recommendation list of every user: score in blocks, keep the best movies."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from app.training.ranking.scorers import Floats, Scorer

#: Movies in a tile of the search for the best: fewer cost more maxima, more cost more candidates.
_TILE = 16


class SeenMovies(NamedTuple):
    """The movies that users have watched or rated.

    Attributes:
        start: [U + 1] index of each user's first movie in `movies`.
        movies: [E] movie numbers.
    """

    start: NDArray[np.int64]
    movies: NDArray[np.int32]


def fill_lists(  # noqa: PLR0913, PLR0917
    out: NDArray[np.integer],
    scorer: Scorer,
    seen: SeenMovies,
    block_size: int,
    advance: Callable[[int], None] = lambda _: None,
    list_scores: NDArray[np.floating] | None = None,
    max_threads: int | None = None,
) -> None:
    """Fill each user's list with the best movies that the user has not seen.

    Args:
        out: [U, D] movie numbers to be written, best first; N fills up a shorter list.
        scorer: scores for blocks of users.
        seen: the movies that are left out.
        block_size: users scored at a time; a thread holds a few times `block_size * N` floats.
        advance: called with the number of users that are done.
        list_scores: [U, D] to be written: the score of each movie of a list minus that of the last
            one, so that the movies that are not in it have 0, as a shorter list's end.
        max_threads: number of threads; None: one for each core.
    """

    def fill(first: int) -> int:
        last = min(first + block_size, len(out))
        scores = scorer.scores(first, last)
        start = seen.start[first : last + 1]
        rows = np.repeat(np.arange(last - first), np.diff(start))
        scores[rows, seen.movies[start[0] : start[-1]]] = -np.inf
        out[first:last] = best = top_k(scores, out.shape[1])
        if list_scores is not None:
            list_scores[first:last] = _subtract_last(scores, best)
        return last - first

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(max_threads or os.cpu_count()) as threads:
        for done in threads.map(fill, range(0, len(out), block_size)):
            advance(done)


def top_k(scores: Floats, k: int) -> NDArray[np.intp]:
    """Return the `k` best movies [B, k] of each row of scores [B, N], best first.

    Movies of score -inf are left out, and N fills up the row. Equal scores: lower number first.
    The best `k` movies are in the `k` tiles with the highest maxima, so only those are searched.
    """
    users, movies = scores.shape
    tiles = movies // _TILE
    if tiles <= 2 * k:
        return _top_k_of(scores, np.arange(movies)[None, :], k, movies)
    # Tile t holds the movies t, t + tiles, t + 2 * tiles, ..., so that the maxima are computed
    # over contiguous memory: 15 times as fast as over neighbours.
    tiled = tiles * _TILE
    maxima = scores[:, :tiled].reshape(users, _TILE, tiles).max(axis=1)
    np.negative(maxima, out=maxima)
    chosen = np.sort(np.argpartition(maxima, k - 1, axis=1)[:, :k], axis=1)
    candidates = (np.arange(0, tiled, tiles)[:, None] + chosen[:, None, :]).reshape(users, -1)
    rest = np.broadcast_to(np.arange(tiled, movies), (users, movies - tiled))
    candidates = np.concatenate([candidates, rest], axis=1)
    rows = np.arange(0, scores.size, movies)[:, None]
    return _top_k_of(np.take(scores, rows + candidates), candidates, k, movies)


def _subtract_last(scores: Floats, best: NDArray[np.intp]) -> Floats:
    """Return the scores of the best movies [B, k] minus that of the last one in each row."""
    movies = scores.shape[1]
    values = np.take_along_axis(scores, np.minimum(best, movies - 1), axis=1)
    values[best == movies] = np.inf
    values -= np.where(best[:, :1] < movies, values.min(axis=1, keepdims=True), 0)
    values[best == movies] = 0
    return np.minimum(values, np.finfo(np.float16).max)


def _top_k_of(scores: Floats, movies: NDArray[np.intp], k: int, fill: int) -> NDArray[np.intp]:
    kept = min(k, scores.shape[1])
    best = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
    best.sort(axis=1)  # so that equal scores keep the order of movie numbers
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    found = np.take_along_axis(np.broadcast_to(movies, scores.shape), best, axis=1)
    lists = np.full((len(scores), k), fill, dtype=np.intp)
    lists[:, :kept] = np.where(np.isneginf(values), fill, found)
    return lists
