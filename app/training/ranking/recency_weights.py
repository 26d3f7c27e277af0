"""What a user watched last says more about what comes next."""

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions


def newer_events(events: Interactions) -> NDArray[np.int64]:
    """How many newer pairs [E] the same user has; pairs without a time are the oldest."""
    order = by_time(events)
    newer = np.empty(len(order), np.int64)
    newer[order] = np.arange(len(order)) - np.repeat(events.start[:-1], np.diff(events.start))
    return newer


def by_time(events: Interactions) -> NDArray[np.intp]:
    """Places [E] of the pairs, user by user, each user's newest first."""
    return np.lexsort((events.days, events.user))


def fading(events: Interactions, half_life_events: float) -> NDArray[np.float32]:
    """What is left [E] of each pair: half after so many newer ones; 1 where no time is known."""
    if events.newest is None:
        return np.ones(len(events.item), np.float32)
    return np.exp2(-newer_events(events) / half_life_events).astype(np.float32)
