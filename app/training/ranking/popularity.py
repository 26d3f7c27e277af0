"""Popularity in time: each pair counts, the older the less."""

import numpy as np
from numpy.typing import NDArray

from app.training.data import Interactions
from app.training.params import PopularityParams


def popularity(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """Popularity [N] of each film: its pairs, halved for every `half_life_days` of age.

    A pair without a time counts as the oldest one; where no time is known, all count 1.
    """
    weights = pair_weights(events, params)
    return np.bincount(events.item, weights, len(events.items)).astype(np.float64)


def pair_weights(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """What each pair [E] adds to its film's popularity."""
    if events.newest is None:
        return np.ones(len(events.item))
    days = np.nan_to_num(events.days, nan=float(np.nanmax(events.days)))
    return np.asarray(np.exp2(-days / params.half_life_days))


def most_popular_first(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Film numbers [N] by falling popularity; equal ones by film number."""
    return np.argsort(-score, kind="stable")
