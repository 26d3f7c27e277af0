"""Ways to hold events out: what is learned from, and what is asked."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from app.training.interactions import Interactions

#: Numbers of events that newcomers are left with.
KNOWN_EVENTS = (0, 1, 2, 3, 5, 10)


@dataclass(frozen=True)
class Split:
    """One way to hold out; both halves number users and movies alike.

    Attributes:
        name: which way.
        train: what is learned from.
        test: what is held out.
        users: [Q] numbers of the users whose lists are scored, each with events in `test`.
    """

    name: str
    train: Interactions
    test: Interactions
    users: NDArray[np.intp]


def random_split(events: Interactions, seed: int, share: float = 0.25) -> Split:
    """Hold out a share of each user's events, drawn at random."""
    random = np.random.default_rng(seed)
    place = np.concatenate([random.permutation(n) / n for n in np.diff(events.start)])
    return _split("random", events, place < share)


def newest_split(events: Interactions, share: float = 0.25) -> Split | None:
    """Hold out the newest share of each user's events; None where times are missing."""
    if not np.isfinite(events.days).all():
        return None
    order = np.lexsort((events.days, events.user))  # by user, the newest first
    counts = np.diff(events.start)
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) - np.repeat(events.start[:-1], counts)
    return _split("newest", events, place < share * np.repeat(counts, counts))


def moment_split(events: Interactions, share: float = 0.25) -> Split | None:
    """Hold out whatever is later than a moment, for strangers too; None where too few have times.

    Events without a time are older than any.
    """
    age = np.nan_to_num(events.days, nan=np.inf)
    moment = np.quantile(age, share, method="lower")
    return _split("moment", events, age < moment) if np.isfinite(moment) else None


def newcomer_split(events: Interactions, seed: int) -> Split | None:
    """Leave the newest third of the active users with their first few events; hold out the rest.

    How many a user is left with is drawn from `KNOWN_EVENTS`. Where times are missing, which users
    and which events is drawn too. None where nobody is active enough.
    """
    random = np.random.default_rng(seed)
    counts = np.diff(events.start)
    age = events.days
    if not np.isfinite(age).all():
        age = random.random(len(age)) + random.random(len(counts))[events.user]
    active = np.flatnonzero(counts > max(KNOWN_EVENTS))
    first = np.zeros(len(counts))
    np.maximum.at(first, events.user, age)
    chosen = active[np.argsort(first[active], kind="stable")]
    chosen = random.permutation(chosen[: len(active) // 3])
    if len(chosen) < len(KNOWN_EVENTS):
        return None
    left = counts.copy()
    left[chosen] = np.resize(KNOWN_EVENTS, len(chosen))
    order = np.lexsort((-age, events.user))  # by user, the oldest first
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(events.start[:-1], counts)
    return _split("newcomers", events, place >= np.repeat(left, counts))


def validation_splits(events: Interactions, seed: int) -> list[Split]:
    """All ways that this input allows."""
    makers: tuple[Callable[[], Split | None], ...] = (
        lambda: random_split(events, seed),
        lambda: newest_split(events),
        lambda: moment_split(events),
        lambda: newcomer_split(events, seed),
    )
    splits = [split for make in makers if (split := make()) is not None]
    return [split for split in splits if len(split.users) and len(split.train.item)]


def _split(name: str, events: Interactions, late: NDArray[np.bool_]) -> Split:
    test = _take(events, late)
    return Split(name, _take(events, ~late), test, np.flatnonzero(np.diff(test.start)))


def _take(events: Interactions, chosen: NDArray[np.bool_]) -> Interactions:
    """Some of the pairs, among the same users and movies."""
    counts = np.bincount(events.user[chosen], minlength=len(events.users))
    arrays = {name: getattr(events, name)[chosen] for name in ("item", "rating", "minutes")}
    days, newest = events.days[chosen], events.newest
    if newest is not None and np.isfinite(days).any():
        age = float(np.nanmin(days))
        days, newest = days - age, newest - timedelta(days=age)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return dataclasses.replace(events, start=start, days=days, newest=newest, **arrays)
