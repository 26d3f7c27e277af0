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
    recency: NDArray[np.float32] = events.create_array(len(events.movie), np.float32)
    for first, last in events.split_users():
        pairs = slice(events.start[first], events.start[last])
        counts = np.diff(events.start[first : last + 1])
        newer = np.empty(int(counts.sum()), np.int64)
        begin = np.repeat(events.start[first:last] - pairs.start, counts)
        newer[order_by_time(events, first, last)] = np.arange(len(newer)) - begin
        recency[pairs] = np.exp2(-newer / half_life_events)
    return recency


def order_by_time(events: Interactions, first: int, last: int) -> NDArray[np.intp]:
    """Order the pairs of the users `first` to `last - 1` by user, each user's newest first.

    Pairs without a time are the oldest. The indices are counted from the first of these pairs.
    """
    user = np.repeat(np.arange(last - first), np.diff(events.start[first : last + 1]))
    return np.lexsort((events.age_days[events.start[first] : events.start[last]], user))
