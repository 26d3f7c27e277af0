"""Splits of the events into a training part and a held-out test part."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions

#: Numbers of events that users of the cold-start split keep.
COLD_START_EVENTS = (0, 1, 2, 3, 5, 10)


@dataclass(frozen=True)
class Split:
    """One split; both parts number users and movies alike.

    Attributes:
        name: name of the splitting method.
        train: training part.
        test: held-out part.
        users: [Q] numbers of the users who have events in `test`.
    """

    name: str
    train: Interactions
    test: Interactions
    users: NDArray[np.intp]


def random_split(events: Interactions, seed: int, share: float = 0.25) -> Split:
    """Hold out a random share of each user's events."""
    random = np.random.default_rng(seed)
    rank = np.concatenate([random.permutation(n) / n for n in np.diff(events.start)])
    return _split("random", events, rank < share)


def per_user_temporal_split(events: Interactions, share: float = 0.25) -> Split | None:
    """Hold out the newest share of each user's events; None if an event has no time."""
    if not np.isfinite(events.age_days).all():
        return None
    rank = _rank_by_age(events, events.age_days)
    counts = np.repeat(np.diff(events.start), np.diff(events.start))
    return _split("per_user_temporal", events, rank < share * counts)


def global_temporal_split(events: Interactions, share: float = 0.25) -> Split | None:
    """Hold out all events after one point in time; None if too few events have a time.

    Users without earlier events are unknown users in this split. Events without a time are the
    oldest.
    """
    age_days = np.nan_to_num(events.age_days, nan=np.inf)
    cut = np.quantile(age_days, share, method="lower")
    return _split("global_temporal", events, age_days < cut) if np.isfinite(cut) else None


def cold_start_split(events: Interactions, seed: int) -> Split | None:
    """Keep the first few events of the newest third of the active users; hold out the rest.

    The number of events that a user keeps is drawn from `COLD_START_EVENTS`. If an event has no
    time, users and events are drawn at random. None if too few users are active.
    """
    random = np.random.default_rng(seed)
    counts = np.diff(events.start)
    age = events.age_days
    if not np.isfinite(age).all():
        age = random.random(len(age)) + random.random(len(counts))[events.user]
    active = np.flatnonzero(counts > max(COLD_START_EVENTS))
    first = np.zeros(len(counts))
    np.maximum.at(first, events.user, age)
    chosen = active[np.argsort(first[active], kind="stable")]
    chosen = random.permutation(chosen[: len(active) // 3])
    if len(chosen) < len(COLD_START_EVENTS):
        return None
    kept = counts.copy()
    kept[chosen] = np.resize(COLD_START_EVENTS, len(chosen))
    rank = _rank_by_age(events, -age)  # the oldest first
    return _split("cold_start", events, rank >= np.repeat(kept, counts))


def validation_splits(events: Interactions, seed: int) -> list[Split]:
    """Return every split that the data allow."""
    methods: tuple[Callable[[], Split | None], ...] = (
        lambda: random_split(events, seed),
        lambda: per_user_temporal_split(events),
        lambda: global_temporal_split(events),
        lambda: cold_start_split(events, seed),
    )
    splits = [split for method in methods if (split := method()) is not None]
    return [split for split in splits if len(split.users) and len(split.train.movie)]


def drop_empty(events: Interactions) -> Interactions:
    """Return the same pairs without the users and movies that have none, as training reads them."""
    users, movies = np.unique(events.user), np.unique(events.movie)
    lengths = events.length_minutes
    return dataclasses.replace(
        events,
        users=events.users[users],
        movies=[events.movies[movie] for movie in movies],
        start=np.concatenate([[0], events.start[users + 1]]),
        movie=np.searchsorted(movies, events.movie).astype(np.int32),
        length_minutes=None if lengths is None else lengths[movies],
    )


def _rank_by_age(events: Interactions, age: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank the pairs [E] of each user from 0, by ascending age."""
    order = np.lexsort((age, events.user))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(events.start[:-1], np.diff(events.start))
    return rank


def _split(name: str, events: Interactions, held_out: NDArray[np.bool_]) -> Split:
    test = select_pairs(events, held_out)
    return Split(name, select_pairs(events, ~held_out), test, np.flatnonzero(np.diff(test.start)))


def select_pairs(events: Interactions, chosen: NDArray[np.bool_]) -> Interactions:
    """Return some of the pairs, of the same users and movies."""
    counts = np.bincount(events.user[chosen], minlength=len(events.users))
    arrays = {name: getattr(events, name)[chosen] for name in ("movie", "rating", "minutes")}
    age_days, newest = events.age_days[chosen], events.newest
    if newest is not None and np.isfinite(age_days).any():
        shift = float(np.nanmin(age_days))
        age_days, newest = age_days - shift, newest - timedelta(days=shift)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return dataclasses.replace(events, start=start, age_days=age_days, newest=newest, **arrays)
