"""How much a pair says that the user likes the movie: a number from 0 to 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import EventParams


def strengths(
    events: Interactions, params: EventParams, scale: tuple[float, float]
) -> NDArray[np.float32]:
    """Strength [E] of each pair.

    A rating says most: from `lowest_rating` at the bottom of the scale to 1 at its top. Without
    one, minutes count: by their share of the movie where lengths are known, with the median
    length for a movie of unknown length; else on a logarithmic scale that reaches 1 at
    `full_minutes`.
    """
    low, high = scale
    share = np.clip((events.rating - low) / (high - low), 0, 1)
    rated = params.lowest_rating + (1 - params.lowest_rating) * share
    chosen = np.where(np.isfinite(events.rating), rated, _watched(events, params))
    return np.asarray(chosen, dtype=np.float32)


def _watched(events: Interactions, params: EventParams) -> NDArray[np.floating[Any]]:
    length = events.length
    if length is None or not np.isfinite(length).any():
        scaled = np.log1p(events.minutes) / np.log1p(params.full_minutes)
        return np.asarray(np.minimum(scaled, 1))
    length = np.where(np.isfinite(length), length, np.nanmedian(length))
    return np.asarray(np.minimum(events.minutes / length[events.item], 1))


def strength_matrix(events: Interactions, strength: NDArray[np.float32]) -> sparse.csr_array:
    """Strengths as a matrix [U, N]; pairs of strength 0 are left out."""
    shape = (len(events.users), len(events.items))
    matrix = sparse.csr_array((strength, events.item, events.start), shape=shape, copy=True)
    matrix.eliminate_zeros()
    return matrix
