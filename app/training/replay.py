"""Replay held-out events in the order of time: is the next movie among those recommended before it?

A recommendation is computed for each event as the service would have computed it: the user's
earlier held-out events are its recent events, once they are older than a stated lag.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.model.recent_ranking import EarlierMovies
from app.model.recommendation_lists import RecommendationLists
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES, RecentEvent, keep_last, to_seconds
from app.training.interactions import Interactions

#: Time from an event until it is known to the service, in seconds: 1 s, 10 min, 1 h, 12 h, 2 days.
LAGS = (1.0, 600.0, 3600.0, 43_200.0, 172_800.0)
#: Movies of a recommendation.
LENGTH = 20
#: Number of movies known of the user at the time of an event; the last group has no end.
MOVIE_GROUPS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 9), (10, None))
_DAY_SECONDS = 86_400
#: Times are in microseconds; their difference as floating-point numbers is not exact.
_ROUNDING_SECONDS = 1e-3


@dataclass(frozen=True)
class ReplayLog:
    """Held-out events by user, and each user's in the order of time.

    Attributes:
        users: ids of the users.
        events: the events of each user, the oldest first.
        evaluated: [E] whether a recommendation is computed for the event, in the order of `events`.
    """

    users: list[int]
    events: list[list[RecentEvent]]
    evaluated: NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """The outcome of each of `Q` evaluated events.

    Attributes:
        position: [Q] place of the movie in the recommendation from 0, or -1.
        movies: [Q] number of movies that were known of the user, in the model and since.
        known: [Q] whether the user has a list in the model.
    """

    position: NDArray[np.int64]
    movies: NDArray[np.int64]
    known: NDArray[np.bool_]

    def summarize(self) -> dict[str, Any]:
        """Return the metrics of all events, of known and unknown users, and by number of movies."""
        groups = []
        for low, high in MOVIE_GROUPS:
            chosen = (self.movies >= low) & (self.movies <= (np.inf if high is None else high))
            groups.append({"movies": [low, high], **self._metrics(chosen)})
        return {
            **self._metrics(np.ones(len(self.position), bool)),
            "known": self._metrics(self.known),
            "unknown": self._metrics(~self.known),
            "by_movies": groups,
        }

    def ndcg(self) -> float:
        """Return the mean nDCG."""
        return float(self._gains().mean())

    def _gains(self) -> NDArray[np.float64]:
        """NDCG [Q] of each event: one movie is relevant, so it is the discount of its place."""
        gains = 1 / np.log2(np.maximum(self.position, 0) + 2)
        return np.where(self.position >= 0, gains, 0)

    def _metrics(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        events = int(chosen.sum())
        if events == 0:
            return {"events": 0, "hit_rate": None, "ndcg": None}
        hits = self.position[chosen] >= 0
        ndcg = float(self._gains()[chosen].mean())
        return {"events": events, "hit_rate": float(hits.mean()), "ndcg": ndcg}


def make_replay_log(
    held_out: Interactions, numbers: dict[str, int], max_events: int | None = None, seed: int = 0
) -> ReplayLog:
    """Sort held-out events by user and time; events without a time are left out.

    Args:
        held_out: the events, at least one of them with a time.
        numbers: the model's number of each movie id.
        max_events: events for which a recommendation is computed at most, drawn at random; the
            others are only known to it. None: all.
        seed: seed of the draw.
    """
    assert held_out.newest is not None  # noqa: S101 - the caller's
    newest = to_seconds(held_out.newest)
    order = np.lexsort((held_out.movie, -held_out.age_days, held_out.user))
    order = order[np.isfinite(held_out.age_days[order])]
    movie = np.array([numbers.get(movie_id, -1) for movie_id in held_out.movies], np.int64)
    columns = (
        held_out.user[order].tolist(),
        movie[held_out.movie[order]].tolist(),
        held_out.minutes[order].tolist(),
        held_out.rating[order].tolist(),
        (newest - held_out.age_days[order] * _DAY_SECONDS).tolist(),
    )
    events: dict[int, list[RecentEvent]] = {}
    for user, number, minutes, rating, time in zip(*columns, strict=True):
        known_rating = rating if rating == rating else None  # noqa: PLR0124 - NaN: not rated
        events.setdefault(user, []).append(RecentEvent(number, minutes, known_rating, time))
    evaluated = np.ones(len(order), bool)
    if max_events is not None and max_events < len(order):
        evaluated[:] = False
        evaluated[np.random.default_rng(seed).permutation(len(order))[:max_events]] = True
    return ReplayLog(held_out.users[list(events)].tolist(), list(events.values()), evaluated)


def replay(
    lists: RecommendationLists,
    log: ReplayLog,
    lag_seconds: float | None,
    kept_movies: int = KEPT_MOVIES,
    older_movies: int = OLDER_MOVIES,
    length: int = LENGTH,
) -> Outcome:
    """Compute the recommendation before each evaluated event, and where in it the movie is.

    Args:
        lists: the model's lists, of at least `length` movies.
        log: the events.
        lag_seconds: an event is known from so many seconds after it on; None: never, as where
            nothing follows the events. A model without the parts for recent events never uses them.
        kept_movies: only the last so many known movies of a user are kept,
        older_movies: and the numbers of so many before them.
        length: number of movies of a recommendation.
    """
    positions, movies, known = [], [], []
    evaluated = iter(log.evaluated.tolist())
    for user, events in zip(log.users, log.events, strict=True):
        seen = lists.count_seen(user)
        is_known = lists.get(user).source == "personal"
        own = lists.get_numbers(user)[:length]
        for visible, event in count_visible(events, lag_seconds):
            if not next(evaluated):
                continue
            first = max(visible - kept_movies - older_movies, 0)
            recent, older = keep_last(events[first:visible][::-1], kept_movies, older_movies)
            shown = own
            if lists.recent is not None and recent:
                earlier = EarlierMovies(len(older), frozenset(older))
                shown = lists.recent.rank(user, recent, event.time, length, earlier).movies
            positions.append(shown.index(event.movie) if event.movie in shown else -1)
            movies.append(seen + visible)
            known.append(is_known)
    return Outcome(np.array(positions), np.array(movies), np.array(known, bool))


def count_visible(
    events: Sequence[RecentEvent], lag_seconds: float | None
) -> Iterator[tuple[int, RecentEvent]]:
    """Yield each event and the number of earlier ones that are known at its time."""
    visible = 0
    for event in events:
        if lag_seconds is not None:
            limit = event.time - lag_seconds + _ROUNDING_SECONDS
            while visible < len(events) and events[visible].time <= limit:
                visible += 1
        yield visible, event


def replay_model(
    model: Path,
    held_out: Interactions,
    kept_movies: int = KEPT_MOVIES,
    older_movies: int = OLDER_MOVIES,
    max_events: int | None = None,
) -> dict[str, Any] | None:
    """Replay with each of `LAGS`; return what `marquee evaluate --replay` prints.

    `ndcg` and `hit_rate` are the means over the lags. None: no event has a time, so that there is
    no order.

    Raises:
        ArtifactError: the directory is no valid model.
    """
    if held_out.newest is None:
        return None
    lists = RecommendationLists.open(model, LENGTH)
    numbers = {movie_id: number for number, movie_id in enumerate(lists.movie_ids)}
    log = make_replay_log(held_out, numbers, max_events)
    kept = kept_movies, older_movies
    lags = [{"lag_seconds": lag, **replay(lists, log, lag, *kept).summarize()} for lag in LAGS]
    return {
        "length": LENGTH,
        "kept_movies": kept_movies,
        "older_movies": older_movies,
        "uses_recent_events": lists.recent is not None,
        "events": int(log.evaluated.sum()),
        "hit_rate": float(np.mean([lag["hit_rate"] for lag in lags])),
        "ndcg": float(np.mean([lag["ndcg"] for lag in lags])),
        "lags": lags,
        "without_recent_events": replay(lists, log, None).summarize(),
    }
