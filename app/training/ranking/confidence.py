"""Confidence that a user likes a movie, from 0 to 1, from its rating or its watched minutes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import ConfidenceParams


def compute_confidence(
    events: Interactions, params: ConfidenceParams, scale: tuple[float, float]
) -> NDArray[np.float32]:
    """Compute the confidence [E] of each pair.

    A rating counts from `lowest_rating` at the bottom of the scale to 1 at its top. A pair without
    a rating counts its minutes: divided by the movie's length where lengths are given (the median
    length for a movie of unknown length), else on a logarithmic scale that reaches 1 at
    `full_minutes`.
    """
    low, high = scale
    share = np.clip((events.rating - low) / (high - low), 0, 1)
    rated = params.lowest_rating + (1 - params.lowest_rating) * share
    confidence = np.where(np.isfinite(events.rating), rated, _from_minutes(events, params))
    return np.asarray(confidence, dtype=np.float32)


def _from_minutes(events: Interactions, params: ConfidenceParams) -> NDArray[np.floating[Any]]:
    length = events.length_minutes
    if length is None or not np.isfinite(length).any():
        scaled = np.log1p(events.minutes) / np.log1p(params.full_minutes)
        return np.asarray(np.minimum(scaled, 1))
    length = np.where(np.isfinite(length), length, np.nanmedian(length))
    return np.asarray(np.minimum(events.minutes / length[events.movie], 1))


def to_matrix(events: Interactions, values: NDArray[np.float32]) -> sparse.csr_array:
    """Return values [E] of the pairs as a matrix [U, N]; zeros are not stored."""
    shape = (len(events.users), len(events.movies))
    matrix = sparse.csr_array((values, events.movie, events.start), shape=shape, copy=True)
    matrix.eliminate_zeros()
    return matrix
