"""Every user's list: scored in blocks, the best kept, written straight to the artifact."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from app.model.artifact import Array
from app.training.ranking.scorer import Floats, Scorer

#: Movies per tile of the search for the best: a power of two, small beside a catalogue.
_TILE = 64


def fill_lists(
    out: Array,
    scorer: Scorer,
    start: NDArray[np.int64],
    seen: NDArray[np.int32],
    block: int,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Fill each user's list with the best movies the user has not seen.

    Args:
        out: [U, D] movie numbers to be written, best first; N marks the end of a shorter list.
        scorer: scores for blocks of users.
        start: [U + 1] where each user's movies begin in `seen`.
        seen: [E] movie numbers.
        block: users scored at a time; a thread holds a few times `block * N` floats.
        advance: called with the number of users done.
    """

    def fill(first: int) -> int:
        last = min(first + block, len(out))
        scores = scorer.scores(first, last)
        rows = np.repeat(np.arange(last - first), np.diff(start[first : last + 1]))
        scores[rows, seen[start[first] : start[last]]] = -np.inf
        out[first:last] = best_movies(scores, out.shape[1])
        return last - first

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        for done in threads.map(fill, range(0, len(out), block)):
            advance(done)


def best_movies(scores: Floats, depth: int) -> NDArray[np.intp]:
    """The `depth` best movies [B, depth] of each row of scores [B, N], best first.

    Movies of score -inf are left out, and N fills what they leave. Equal scores: lower number
    first. The best `depth` movies lie in the `depth` tiles with the highest maxima, so only those
    are searched.
    """
    users, items = scores.shape
    tiles = items // _TILE
    if tiles <= 2 * depth:
        return _best_of(scores, np.arange(items)[None, :], depth, items)
    # Tile t holds the movies t, t + tiles, t + 2 * tiles, ..., so that maxima are taken of whole
    # runs of memory: 15 times as fast as of neighbours.
    whole = tiles * _TILE
    maxima = scores[:, :whole].reshape(users, _TILE, tiles).max(axis=1)
    chosen = np.sort(np.argpartition(-maxima, depth - 1, axis=1)[:, :depth], axis=1)
    movies = (np.arange(0, whole, tiles)[:, None] + chosen[:, None, :]).reshape(users, -1)
    rest = np.broadcast_to(np.arange(whole, items), (users, items - whole))
    movies = np.concatenate([movies, rest], axis=1)
    return _best_of(np.take_along_axis(scores, movies, axis=1), movies, depth, items)


def _best_of(scores: Floats, movies: NDArray[np.intp], depth: int, items: int) -> NDArray[np.intp]:
    kept = min(depth, scores.shape[1])
    best = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
    best.sort(axis=1)  # so that equal scores keep the order of movie numbers
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    found = np.take_along_axis(np.broadcast_to(movies, scores.shape), best, axis=1)
    lists = np.full((len(scores), depth), items, dtype=np.intp)
    lists[:, :kept] = np.where(np.isneginf(values), items, found)
    return lists
