"""Transitions: movies that users watch or rate soon after each other."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import TransitionParams
from app.training.ranking.ease import MovieWeights, count_movies, most_watched
from app.training.ranking.recency import order_by_time

#: Blocks of pairs whose neighbours are counted at a time, into a matrix of movies by movies.
_BLOCKS = 4


def fit_transitions(
    events: Interactions, confidence: sparse.csr_array, params: TransitionParams, max_movies: int
) -> MovieWeights | None:
    """Count how often movies follow each other, divided by popularity; None without times.

    Two movies `steps` apart in a user's order of time, at most `window`, count `1 / sqrt(steps)`.
    """
    if events.newest is None:
        return None
    movies = most_watched(confidence, max_movies)
    counts = count_movies(events.movie, len(events.movies))[movies]
    return weigh_transitions(
        movies, count_transitions(events, movies, params.window), counts, params
    )


def count_transitions(
    events: Interactions, movies: NDArray[np.int32], window: int
) -> NDArray[np.float32]:
    """Count how often some movies [M] follow each other [M, M], as `fit_transitions` does."""
    size = len(movies)
    index = np.full(len(events.movies), -1, np.int32)
    index[movies] = np.arange(size)
    # By user as the pairs are, and each user's newest first.
    ordered = events.create_array(len(events.movie), np.int32)
    for first, last in events.split_users():
        pairs = slice(events.start[first], events.start[last])
        ordered[pairs] = index[events.movie[pairs][order_by_time(events, first, last)]]
    weights = np.zeros((size, size), np.float32)
    for steps in range(1, window + 1):
        counts = _count_neighbours(events, ordered, steps, size)
        weights += (counts / np.sqrt(steps)).astype(np.float32).reshape(size, size)
    return weights


def weigh_transitions(
    movies: NDArray[np.int32],
    weights: NDArray[np.float32],
    events_of: NDArray[np.int64],
    params: TransitionParams,
) -> MovieWeights:
    """Divide what `count_transitions` counted by the popularity of both movies.

    Args:
        movies: [M] movie numbers.
        weights: [M, M] the counts.
        events_of: [M] number of pairs of each movie.
        params: parameters of transitions.
    """
    weights = weights + weights.T
    damping = 1 / np.sqrt(events_of + params.damping)
    weights *= damping[:, None].astype(np.float32)
    weights *= damping.astype(np.float32)
    return MovieWeights(movies, weights)


def _count_neighbours(
    events: Interactions, movie: NDArray[np.int32], steps: int, size: int
) -> NDArray[np.int64]:
    """Count how often each pair of movies [size * size] is `steps` apart in a user's order.

    Args:
        events: the training data.
        movie: [E] numbers of the movies in the model by user, newest first; -1: not in it.
        steps: the distance.
        size: number of movies in the model.
    """
    counts = np.zeros(size * size, np.int64)
    for first, last in events.split_users(_BLOCKS):
        here = movie[events.start[first] : events.start[last]]
        user = np.repeat(
            np.arange(last - first, dtype=np.int32), np.diff(events.start[first : last + 1])
        )
        near = (user[steps:] == user[:-steps]) & (here[steps:] >= 0) & (here[:-steps] >= 0)
        cells = here[steps:][near].astype(np.int64) * size + here[:-steps][near]
        counts += np.bincount(cells, minlength=size * size)
    return counts
