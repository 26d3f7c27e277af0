"""Popularity: the number of pairs of each movie, decaying with age."""

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions
from app.training.params import Params, PopularityParams, replace_params

#: Half-lives in days that `auto` chooses from.
HALF_LIVES = (7.0, 15.0, 30.0, 60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0)
#: `auto` holds out this share of the pairs, the newest, and evaluates lists of this length.
TEST_SHARE, _LIST_LENGTH = 0.1, 20


def compute_popularity(
    events: Interactions, params: PopularityParams, oldest_days: float | None = None
) -> NDArray[np.float64]:
    """Compute the popularity [N] of each movie: the sum of its pairs' weights.

    Args:
        events: all pairs, or those of some users.
        params: parameters of popularity.
        oldest_days: age of the oldest of all pairs; None: that of `events`.
    """
    decay, popularity = Decay(events, params, oldest_days), np.zeros(len(events.movies))
    for pairs in events.split_pairs():
        # In the order of the pairs, so that the sums do not depend on the size of a slice.
        np.add.at(popularity, events.movie[pairs], decay.compute_weights(pairs))
    return popularity


class Decay:
    """The weight of each pair in popularity: halved for every `half_life_days` of age.

    A pair without a time is as old as the oldest; without any times all weights are 1.
    """

    def __init__(
        self, events: Interactions, params: PopularityParams, oldest_days: float | None = None
    ) -> None:
        self._ages = events.age_days
        self._has_times = events.newest is not None
        if self._has_times:
            days = params.half_life_days
            self._half_life = find_half_life(events) if days == "auto" else days
            self._oldest = find_oldest(events) if oldest_days is None else oldest_days

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
    oldest = find_oldest(events)
    ages = np.nan_to_num(events.age_days, nan=oldest)
    cut = float(np.quantile(ages, TEST_SHARE, overwrite_input=True))
    del ages  # of which a large input has gigabytes
    popular = sum_older_pairs(events, cut, oldest)
    return choose_half_life(sum_ndcg(events, cut, popular))


def find_oldest(events: Interactions) -> float:
    """Return the age of the oldest pair in days."""
    return float(np.nanmax(events.age_days))


def sum_older_pairs(events: Interactions, cut: float, oldest: float) -> NDArray[np.float64]:
    """Compute popularity from the pairs older than `cut` for each of `HALF_LIVES` [H, N].

    Args:
        events: all pairs, or those of some users.
        cut: age in days.
        oldest: age of the oldest of all pairs in days.
    """
    popular = np.zeros((len(HALF_LIVES), len(events.movies)))
    for pairs in events.split_pairs():
        # A pair without a time is as old as the oldest, which is never among the newest.
        old = ~(events.age_days[pairs] < cut)
        movies, ages = events.movie[pairs][old], events.age_days[pairs][old]
        younger = cut - np.nan_to_num(ages, nan=oldest)
        for row, half_life_days in zip(popular, HALF_LIVES, strict=True):
            np.add.at(row, movies, np.exp2(younger / half_life_days))
    return popular


def sum_ndcg(events: Interactions, cut: float, popular: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the nDCG of popular movies over the users with pairs newer than `cut`.

    Args:
        events: all pairs, or those of some users.
        cut: age in days.
        popular: [H, N] as `sum_older_pairs` returns it for all users.

    Returns:
        [H] the sums, and in another place the number of newer pairs: [H + 1].
    """
    newest = np.flatnonzero(events.age_days < cut)
    users, movies = events.find_users(newest), events.movie[newest]
    relevant = np.bincount(users, minlength=len(events.users))
    discount = 1 / np.log2(np.arange(_LIST_LENGTH) + 2)
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(relevant, _LIST_LENGTH)]
    sums = np.zeros(len(popular) + 1)
    sums[-1] = len(newest)
    for number, row in enumerate(popular):
        gain = np.zeros(len(events.movies))
        shown = rank_by_popularity(row)[:_LIST_LENGTH]
        gain[shown] = discount[: len(shown)]
        dcg = np.bincount(users, gain[movies], len(events.users))
        sums[number] = float((dcg / ideal).sum())
    return sums


def choose_half_life(sums: NDArray[np.float64]) -> float:
    """Return the half-life of the highest sum of `sum_ndcg`, the longest of equal ones."""
    if not sums[-1]:
        return HALF_LIVES[-1]
    best = max(reversed(range(len(HALF_LIVES))), key=lambda number: float(sums[number]))
    return HALF_LIVES[best]


def rank_by_popularity(popularity: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return movie numbers [N], the most popular first; equal ones by movie number."""
    return np.argsort(-popularity, kind="stable")
