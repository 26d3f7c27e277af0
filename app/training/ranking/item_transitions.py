"""Movies that users watch or rate one soon after the other, whatever else they like."""

import numpy as np
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import EaseParams, NeighbourParams
from app.training.ranking.ease import EaseWeights, most_watched
from app.training.ranking.recency_weights import by_time


def fit_neighbours(
    events: Interactions, matrix: sparse.csr_array, params: NeighbourParams, bound: EaseParams
) -> EaseWeights | None:
    """Count how often movies follow each other, damped by popularity; None without times.

    Pairs of movies up to `window` steps apart in a user's time count `1 / sqrt(steps)`.
    """
    if events.newest is None:
        return None
    movies = most_watched(matrix, bound.max_movies)
    size = len(movies)
    place = np.full(len(events.items), -1, np.int64)
    place[movies] = np.arange(size)
    order = by_time(events)
    movie, user = place[events.item[order]], events.user[order]
    counts = np.zeros(size * size, np.float32)
    for steps in range(1, params.window + 1):
        near = (user[steps:] == user[:-steps]) & (movie[steps:] >= 0) & (movie[:-steps] >= 0)
        cells = movie[steps:][near] * size + movie[:-steps][near]
        counts += (np.bincount(cells, minlength=size * size) / np.sqrt(steps)).astype(np.float32)
    weights = counts.reshape(size, size)
    weights = weights + weights.T
    damped = 1 / np.sqrt(np.bincount(movie[movie >= 0], minlength=size) + params.damping)
    weights *= damped[:, None].astype(np.float32)
    weights *= damped.astype(np.float32)
    return EaseWeights(movies, weights)
