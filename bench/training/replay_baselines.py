"""Next-movie recommendations of simpler methods, and of a model that is always retrained.

All of them know all events of a user that are older than the lag, those of training included, and
leave all these movies out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.fit import (
    FittedModels,
    als_scorer,
    blend_scorers,
    ease_scorer,
    fit_models,
    transitions_scorer,
)
from app.training.interactions import Interactions
from app.training.params import Params
from app.training.ranking.als import AlsFactors, solve_users
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.recency import compute_recency
from app.training.ranking.scorers import BlendScorer, Floats, SameForAllScorer
from app.training.stages import Stages
from app.training.tuning.splits import select_pairs

DAY_SECONDS = 86_400
#: Difference of the times of two events that counts as none.
_ROUNDING_SECONDS = 1e-3
_BLOCK = 256
#: Place of a movie that is not recommended.
MISS = 10**9
Indices = NDArray[np.int64]
#: Computes scores [Q, N] for `Q` users that are given by their events.
ScoreUsers = Callable[["Prefixes"], Floats]


@dataclass(frozen=True)
class Prefixes:
    """The first events of `Q` users, as users of their own.

    Attributes:
        events: their pairs, sorted by user and movie.
        confidence: [E] confidence of each pair.
        recency: [E] recency weight of each pair.
        matrix: confidence as a matrix [Q, N].
    """

    events: Interactions
    confidence: Floats
    recency: Floats
    matrix: sparse.csr_array


class History:
    """All events by user, and each user's in the order of time.

    Args:
        events: the events; all with a time.
        params: parameters of confidence and recency.
        scale: lowest and highest rating.
        test_share: share of the events, the newest, that the first model is not trained on.

    Attributes:
        events: the events.
        time: [E] time of each event in seconds before the newest, negative; in the order of users
            and time, as the next two.
        user, movie: [E] user and movie numbers.
        held_out: indices of the events that the first model is not trained on.
    """

    def __init__(
        self,
        events: Interactions,
        params: Params,
        scale: tuple[float, float],
        test_share: float = 0.25,
    ) -> None:
        self.events, self.scale, self._params = events, scale, params
        time = -events.age_days * DAY_SECONDS
        self._order = np.lexsort((events.movie, time, events.user))
        self.time, self.user = time[self._order], events.user[self._order]
        self.movie = events.movie[self._order].astype(np.int64)
        self._confidence = compute_confidence(events, params.confidence, scale)[self._order]
        # As `global_temporal_split` holds events out.
        self.cut = -float(np.quantile(events.age_days, test_share, method="lower")) * DAY_SECONDS
        self.held_out = np.flatnonzero(self.time > self.cut)

    def train(self, until: float | None = None) -> Interactions:
        """Return the events up to a time; None: those of the first model."""
        time = -self.events.age_days * DAY_SECONDS
        return select_pairs(self.events, time <= (self.cut if until is None else until))

    def train_with_first(self, count: int) -> Interactions:
        """Return the events of the first model and the first ones of each user it does not know."""
        chosen = self.time <= self.cut
        first = self.position() < count
        chosen |= first & ~self.is_known()[self.user]
        by_pair = np.empty(len(chosen), bool)
        by_pair[self._order] = chosen
        return select_pairs(self.events, by_pair)

    def position(self) -> Indices:
        """Return the number [E] of earlier events of the same user."""
        return np.arange(len(self.user)) - self.events.start[self.user]

    def is_known(self) -> NDArray[np.bool_]:
        """Return whether the first model knows each user [U]."""
        counts = np.bincount(self.user[self.time <= self.cut], minlength=len(self.events.users))
        return counts > 0

    def count_visible(self, lag_seconds: float) -> Indices:
        """Count the user's events that are known at the time of each event [E], training's too."""
        visible = np.zeros(len(self.user), np.int64)
        for first, last in zip(self.events.start[:-1], self.events.start[1:], strict=True):
            times = self.time[first:last]
            known = np.searchsorted(times, times - lag_seconds + _ROUNDING_SECONDS, side="right")
            visible[first:last] = np.maximum(known, np.searchsorted(times, self.cut, side="right"))
        return np.minimum(visible, self.position())

    def take_prefixes(self, users: Indices, counts: Indices) -> Prefixes:
        """Return the first `counts` [Q] events of `users` [Q] as users of their own."""
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        row = np.repeat(np.arange(len(users)), counts)
        offset = np.arange(start[-1]) - start[row]
        flat = self.events.start[users][row] + offset
        by_movie = np.lexsort((self.movie[flat], row))
        flat, newer = flat[by_movie], (counts[row] - 1 - offset)[by_movie].astype(float)
        pairs = self._order[flat]
        events = Interactions(
            users=np.arange(len(users)),
            movies=self.events.movies,
            start=start,
            movie=self.movie[flat].astype(np.int32),
            rating=self.events.rating[pairs],
            minutes=self.events.minutes[pairs],
            age_days=newer,  # the order is what counts
            length_minutes=None,
            newest=self.events.newest,
        )
        confidence = self._confidence[flat]
        recency = compute_recency(events, self._params.recency.half_life_events)
        return Prefixes(events, confidence, recency, to_matrix(events, confidence))


def score_popular(models: FittedModels) -> ScoreUsers:
    """Return the popularity of each movie, the same for all."""
    scorer = SameForAllScorer(models.popularity)
    return lambda prefixes: scorer.scores(0, len(prefixes.events.users))


def score_ease(models: FittedModels) -> ScoreUsers:
    """Return EASE's scores; equal ones by popularity, which also ranks for users without events."""
    assert models.ease is not None
    ease, popular = models.ease, score_popular(models)

    def score(prefixes: Prefixes) -> Floats:
        scores = popular(prefixes) * np.float32(1e-6)
        scores[:, ease.movies] += prefixes.matrix[:, ease.movies] @ ease.weights
        return scores

    return score


def score_model(models: FittedModels, params: Params) -> ScoreUsers:
    """Return the scores of the whole model, as if the users had been part of the training."""
    als, ease, transitions = models.als, models.ease, models.transitions
    popularity = SameForAllScorer(models.popularity)

    def score(prefixes: Prefixes) -> Floats:
        pairs = (prefixes.events, prefixes.confidence, prefixes.recency)
        scorers: dict[str, BlendScorer] = {}
        if als is not None:
            users = solve_users(prefixes.matrix, als.movies, params.als)
            scorers["als"] = als_scorer(AlsFactors(users, als.movies))
        if ease is not None:
            scorers["ease"] = ease_scorer(*pairs, params, ease)
        if transitions is not None:
            scorers["transitions"] = transitions_scorer(*pairs, transitions)
        counts = np.diff(prefixes.events.start)
        return blend_scorers(scorers, popularity, counts, params.blend).scores(0, len(counts))

    return score


def find_places(history: History, queries: Indices, visible: Indices, score: ScoreUsers) -> Indices:
    """Return the place [Q] of the movie of each queried event among those recommended before it.

    Args:
        history: all events.
        queries: [Q] indices of events.
        visible: [Q] number of the user's events that are known.
        score: scores movies for users.
    """
    places = np.empty(len(queries), np.int64)
    for first in range(0, len(queries), _BLOCK):
        chosen = slice(first, first + _BLOCK)
        block = queries[chosen]
        scores = score_unseen(history, history.user[block].astype(np.int64), visible[chosen], score)
        own = scores[np.arange(len(block)), history.movie[block]]
        places[chosen] = np.where(np.isneginf(own), MISS, (scores > own[:, None]).sum(axis=1))
    return places


def score_unseen(history: History, users: Indices, visible: Indices, score: ScoreUsers) -> Floats:
    """Return scores [Q, N] by the first `visible` events of `users`; -inf for these movies."""
    prefixes = history.take_prefixes(users, visible)
    scores = score(prefixes)
    scores[prefixes.events.user, prefixes.events.movie] = -np.inf
    return scores


def find_places_retrained(
    history: History, params: Params, lag_seconds: float, retrainings: int
) -> Iterator[tuple[Indices, Indices]]:
    """Yield queries and places of a model that is retrained at equal numbers of events.

    The movies' part of each model rests on the events before its training; the user's part on all
    events that are known at the time of the query.
    """
    by_time = history.held_out[np.argsort(history.time[history.held_out], kind="stable")]
    visible = history.count_visible(lag_seconds)
    for number, queries in enumerate(np.array_split(by_time, retrainings)):
        until = None if number == 0 else float(history.time[queries[0]]) - _ROUNDING_SECONDS
        models = fit_models(history.train(until), params, history.scale, Stages())
        ordered = np.sort(queries)
        yield ordered, find_places(history, ordered, visible[ordered], score_model(models, params))
