"""Popularity in time: each pair counts, the older the less."""

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions
from app.training.params import Params, PopularityParams

#: Half-lives in days that `auto` chooses from.
HALF_LIVES = (7.0, 15.0, 30.0, 60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0)
#: It holds out so large a share of the pairs, the newest, and shows so many movies.
_NEWEST, _SHOWN = 0.1, 20


def popularity(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """Popularity [N] of each movie: its pairs, halved for every `half_life_days` of age.

    A pair without a time counts as the oldest one; where no time is known, all count 1.
    """
    weights = pair_weights(events, params)
    return np.bincount(events.item, weights, len(events.items)).astype(np.float64)


def pair_weights(events: Interactions, params: PopularityParams) -> NDArray[np.float64]:
    """What each pair [E] adds to its movie's popularity."""
    if events.newest is None:
        return np.ones(len(events.item))
    days = params.half_life_days
    return np.asarray(np.exp2(-_ages(events) / (half_life(events) if days == "auto" else days)))


def settled(params: Params, events: Interactions) -> Params:
    """The parameters with a number of days in place of `auto`."""
    if params.popularity.half_life_days != "auto":
        return params
    found = PopularityParams(half_life_days=half_life(events))
    return params.model_copy(update={"popularity": found})


def half_life(events: Interactions) -> float:
    """The one of `HALF_LIVES` that tells best, from older pairs, what the newest tenth holds.

    Judged by the mean over the users of that tenth of DCG / best possible DCG of the most popular
    movies. A service that has run for weeks and ratings of twenty years differ by a factor of ten
    here, and a stranger's list is popularity alone. The longest, where no time is known or all are
    one.
    """
    if events.newest is None:
        return HALF_LIVES[-1]
    ages, users = _ages(events), events.user
    cut = float(np.quantile(ages, _NEWEST))
    new = ages < cut
    asked = np.bincount(users[new], minlength=len(events.users))
    if not new.any():
        return HALF_LIVES[-1]
    places = 1 / np.log2(np.arange(_SHOWN) + 2)
    best_possible = np.concatenate([[np.inf], np.cumsum(places)])[np.minimum(asked, _SHOWN)]

    def quality(days: float) -> float:
        weights = np.exp2((cut - ages[~new]) / days)
        popular = np.bincount(events.item[~new], weights, len(events.items)).astype(np.float64)
        gain = np.zeros(len(events.items))
        shown = most_popular_first(popular)[:_SHOWN]
        gain[shown] = places[: len(shown)]
        gained = np.bincount(users[new], gain[events.item[new]], len(events.users))
        return float((gained / best_possible).sum())

    return max(reversed(HALF_LIVES), key=quality)


def _ages(events: Interactions) -> NDArray[np.float64]:
    """Days [E] before the newest pair; a pair without a time is as old as the oldest."""
    return np.nan_to_num(events.days, nan=float(np.nanmax(events.days)))


def most_popular_first(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Movie numbers [N] by falling popularity; equal ones by movie number."""
    return np.argsort(-score, kind="stable")
