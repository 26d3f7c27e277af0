"""Popularity: the number of pairs of each movie, decaying with age."""

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions
from app.training.params import Params, PopularityParams, replace_params

#: Half-lives in days that `auto` chooses from.
HALF_LIVES = (7.0, 15.0, 30.0, 60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0)
#: `auto` holds out this share of the pairs, the newest, and evaluates lists of this length.
_TEST_SHARE, _LIST_LENGTH = 0.1, 20


def compute_popularity(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """Compute the popularity [N] of each movie: the sum of its pairs' weights."""
    decay, popularity = Decay(events, params), np.zeros(len(events.movies))
    for pairs in events.split_pairs():
        # In the order of the pairs, so that the sums do not depend on the size of a slice.
        np.add.at(popularity, events.movie[pairs], decay.compute_weights(pairs))
    return popularity


class Decay:
    """The weight of each pair in popularity: halved for every `half_life_days` of age.

    A pair without a time is as old as the oldest; without any times all weights are 1.
    """

    def __init__(self, events: Interactions, params: PopularityParams) -> None:
        self._ages = events.age_days
        self._has_times = events.newest is not None
        if self._has_times:
            days = params.half_life_days
            self._half_life = find_half_life(events) if days == "auto" else days
            self._oldest = float(np.nanmax(events.age_days))

    def compute_weights(self, pairs: slice) -> NDArray[np.float64]:
        """Compute the weights of these pairs."""
        ages = self._ages[pairs]
        if not self._has_times:
            return np.ones(len(ages))
        return np.asarray(np.exp2(-np.nan_to_num(ages, nan=self._oldest) / self._half_life))


def resolve_auto(params: Params, events: Interactions) -> Params:
    """Return the parameters with a number of days in place of `auto`."""
    if params.popularity.half_life_days != "auto":
        return params
    return replace_params(params, {"popularity.half_life_days": find_half_life(events)})


def find_half_life(events: Interactions) -> float:
    """Find the half-life in days whose most popular movies predict the newest events best.

    Popularity is computed from all but the newest tenth of the pairs; the measure is the mean nDCG
    of the `_LIST_LENGTH` most popular movies over the users of that tenth. Returns the longest of
    `HALF_LIVES` without times, or when all times are equal.
    """
    if events.newest is None:
        return HALF_LIVES[-1]
    oldest = float(np.nanmax(events.age_days))
    ages = np.nan_to_num(events.age_days, nan=oldest)
    cut = float(np.quantile(ages, _TEST_SHARE, overwrite_input=True))
    del ages  # of which a large input has gigabytes
    # A pair without a time is as old as the oldest, which is never among the newest.
    new = events.age_days < cut
    if not new.any():
        return HALF_LIVES[-1]
    newest = np.flatnonzero(new)
    users, movies = events.find_users(newest), events.movie[newest]
    relevant = np.bincount(users, minlength=len(events.users))
    discount = 1 / np.log2(np.arange(_LIST_LENGTH) + 2)
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(relevant, _LIST_LENGTH)]

    def sum_ndcg(half_life_days: float) -> float:
        popular = np.zeros(len(events.movies))
        for pairs in events.split_pairs():
            old = ~new[pairs]
            old_ages = np.nan_to_num(events.age_days[pairs][old], nan=oldest)
            weights = np.exp2((cut - old_ages) / half_life_days)
            np.add.at(popular, events.movie[pairs][old], weights)
        gain = np.zeros(len(events.movies))
        shown = rank_by_popularity(popular)[:_LIST_LENGTH]
        gain[shown] = discount[: len(shown)]
        dcg = np.bincount(users, gain[movies], len(events.users))
        return float((dcg / ideal).sum())

    return max(reversed(HALF_LIVES), key=sum_ndcg)


def rank_by_popularity(popularity: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return movie numbers [N], the most popular first; equal ones by movie number."""
    return np.argsort(-popularity, kind="stable")
