"""Films that users watch or rate one soon after the other, whatever else they like."""

import numpy as np
from scipy import sparse

from app.training.data import Interactions
from app.training.params import EaseParams, NeighbourParams
from app.training.ranking.ease import EaseWeights, most_watched
from app.training.ranking.recency import by_time


def fit_neighbours(
    events: Interactions, matrix: sparse.csr_array, params: NeighbourParams, bound: EaseParams
) -> EaseWeights | None:
    """Count how often films follow each other, damped by popularity; None without times.

    Pairs of films up to `window` steps apart in a user's time count `1 / sqrt(steps)`.
    """
    if events.newest is None:
        return None
    films = most_watched(matrix, bound.max_films)
    size = len(films)
    place = np.full(len(events.items), -1, np.int64)
    place[films] = np.arange(size)
    order = by_time(events)
    film, user = place[events.item[order]], events.user[order]
    counts = np.zeros(size * size, np.float32)
    for steps in range(1, params.window + 1):
        near = (user[steps:] == user[:-steps]) & (film[steps:] >= 0) & (film[:-steps] >= 0)
        cells = film[steps:][near] * size + film[:-steps][near]
        counts += (np.bincount(cells, minlength=size * size) / np.sqrt(steps)).astype(np.float32)
    weights = counts.reshape(size, size)
    weights = weights + weights.T
    damped = 1 / np.sqrt(np.bincount(film[film >= 0], minlength=size) + params.damping)
    weights *= damped[:, None].astype(np.float32)
    weights *= damped.astype(np.float32)
    return EaseWeights(films, weights)
