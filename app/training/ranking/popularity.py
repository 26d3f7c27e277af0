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
    weights = decay_by_age(events, params)
    return np.bincount(events.movie, weights, len(events.movies)).astype(np.float64)


def decay_by_age(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """Compute the weight [E] of each pair in popularity: halved for every `half_life_days` of age.

    A pair without a time is as old as the oldest; without any times all weights are 1.
    """
    if events.newest is None:
        return np.ones(len(events.movie))
    days = params.half_life_days
    half_life = find_half_life(events) if days == "auto" else days
    return np.asarray(np.exp2(-_ages_days(events) / half_life))


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
    ages, users = _ages_days(events), events.user
    cut = float(np.quantile(ages, _TEST_SHARE))
    new = ages < cut
    relevant = np.bincount(users[new], minlength=len(events.users))
    if not new.any():
        return HALF_LIVES[-1]
    discount = 1 / np.log2(np.arange(_LIST_LENGTH) + 2)
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(relevant, _LIST_LENGTH)]

    def sum_ndcg(half_life_days: float) -> float:
        weights = np.exp2((cut - ages[~new]) / half_life_days)
        popular = np.bincount(events.movie[~new], weights, len(events.movies)).astype(np.float64)
        gain = np.zeros(len(events.movies))
        shown = rank_by_popularity(popular)[:_LIST_LENGTH]
        gain[shown] = discount[: len(shown)]
        dcg = np.bincount(users[new], gain[events.movie[new]], len(events.users))
        return float((dcg / ideal).sum())

    return max(reversed(HALF_LIVES), key=sum_ndcg)


def _ages_days(events: Interactions) -> NDArray[np.float64]:
    """Ages [E] in days before the newest pair; a pair without a time is as old as the oldest."""
    return np.nan_to_num(events.age_days, nan=float(np.nanmax(events.age_days)))


def rank_by_popularity(popularity: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return movie numbers [N], the most popular first; equal ones by movie number."""
    return np.argsort(-popularity, kind="stable")
