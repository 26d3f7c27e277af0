"""Transitions: movies that users watch or rate soon after each other."""

import numpy as np
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import TransitionParams
from app.training.ranking.ease import MovieWeights, most_watched
from app.training.ranking.recency import order_by_time


def fit_transitions(
    events: Interactions, confidence: sparse.csr_array, params: TransitionParams, max_movies: int
) -> MovieWeights | None:
    """Count how often movies follow each other, divided by popularity; None without times.

    Two movies `steps` apart in a user's order of time, at most `window`, count `1 / sqrt(steps)`.
    """
    if events.newest is None:
        return None
    movies = most_watched(confidence, max_movies)
    size = len(movies)
    index = np.full(len(events.movies), -1, np.int64)
    index[movies] = np.arange(size)
    order = order_by_time(events)
    movie, user = index[events.movie[order]], events.user[order]
    counts = np.zeros(size * size, np.float32)
    for steps in range(1, params.window + 1):
        near = (user[steps:] == user[:-steps]) & (movie[steps:] >= 0) & (movie[:-steps] >= 0)
        cells = movie[steps:][near] * size + movie[:-steps][near]
        counts += (np.bincount(cells, minlength=size * size) / np.sqrt(steps)).astype(np.float32)
    weights = counts.reshape(size, size)
    weights = weights + weights.T
    damping = 1 / np.sqrt(np.bincount(movie[movie >= 0], minlength=size) + params.damping)
    weights *= damping[:, None].astype(np.float32)
    weights *= damping.astype(np.float32)
    return MovieWeights(movies, weights)
