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
    confidence: NDArray[np.float32] = events.create_array(len(events.movie), np.float32)
    length = events.length_minutes
    if length is not None:
        known = np.isfinite(length)
        length = np.where(known, length, np.nanmedian(length)) if known.any() else None
    low, high = scale
    for pairs in events.split_pairs():
        rating = events.rating[pairs]
        share = np.clip((rating - low) / (high - low), 0, 1)
        rated = params.lowest_rating + (1 - params.lowest_rating) * share
        watched = _from_minutes(events.minutes[pairs], events.movie[pairs], length, params)
        confidence[pairs] = np.where(np.isfinite(rating), rated, watched)
    return confidence


def _from_minutes(
    minutes: NDArray[np.uint16],
    movie: NDArray[np.int32],
    length: NDArray[np.float32] | None,
    params: ConfidenceParams,
) -> NDArray[np.floating[Any]]:
    if length is None:
        return np.asarray(np.minimum(np.log1p(minutes) / np.log1p(params.full_minutes), 1))
    return np.asarray(np.minimum(minutes / length[movie], 1))


def to_matrix(events: Interactions, values: NDArray[np.float32]) -> sparse.csr_array:
    """Return values [E] of the pairs as a matrix [U, N]; zeros are not stored.

    Without zeros the matrix shares the memory of the values and of the movie numbers.
    """
    shape = (len(events.users), len(events.movies))
    has_zeros = np.count_nonzero(values) < len(values)
    # With 64 bits in one of them, SciPy copies the movie numbers to 64 bits.
    start = events.start.astype(np.int32) if len(values) < 2**31 else events.start
    matrix = sparse.csr_array((values, events.movie, start), shape=shape, copy=has_zeros)
    if has_zeros:
        matrix.eliminate_zeros()
    return matrix
