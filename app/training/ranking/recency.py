"""Recency weights: what a user watched last says most about what comes next."""

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions


def compute_recency(events: Interactions, half_life_events: float) -> NDArray[np.float32]:
    """Compute the recency weight [E] of each pair, from 1 down.

    The weight halves for every `half_life_events` newer pairs of the same user. Without any times
    all weights are 1.
    """
    if events.newest is None:
        return np.ones(len(events.movie), np.float32)
    return np.exp2(-_count_newer(events) / half_life_events).astype(np.float32)


def order_by_time(events: Interactions) -> NDArray[np.intp]:
    """Return indices [E] of the pairs by user, each user's newest first."""
    return np.lexsort((events.age_days, events.user))


def _count_newer(events: Interactions) -> NDArray[np.int64]:
    """Count the newer pairs [E] of the same user; pairs without a time are the oldest."""
    order = order_by_time(events)
    newer = np.empty(len(order), np.int64)
    newer[order] = np.arange(len(order)) - np.repeat(events.start[:-1], np.diff(events.start))
    return newer
