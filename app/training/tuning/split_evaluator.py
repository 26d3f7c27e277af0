"""Evaluate parameters on one split. Fitted models are cached, so that other weights cost little."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.fit import (
    als_scorer,
    blend_scorers,
    ease_scorer,
    svd_scorer,
    transitions_scorer,
)
from app.training.interactions import Interactions
from app.training.params import Params, PopularityParams
from app.training.ranking.als import fit_als
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.ease import MovieWeights, fit_ease
from app.training.ranking.popularity import compute_popularity, find_half_life
from app.training.ranking.recency import compute_recency
from app.training.ranking.scorers import BlendScorer, Floats, SameForAllScorer
from app.training.ranking.transitions import fit_transitions
from app.training.ranking_metrics import PerUserMetrics, ranking_metrics
from app.training.svd import fit_svd
from app.training.top_n import SeenMovies, fill_lists
from app.training.tuning.splits import Split

#: Users evaluated per split. Their scores are cached for each scorer: 110 MB at 27,000 movies.
MAX_USERS = 1000

#: Sections of the parameters that the scores of each scorer depend on.
_SECTIONS = {
    "als": ("confidence", "als"),
    "ease": ("confidence", "ease", "recency"),
    "transitions": ("confidence", "ease", "recency", "transitions"),
    "svd": ("svd",),
}
#: Sections that the fitted weights between movies depend on.
_FIT_SECTIONS = {
    "ease": ("confidence", "ease"),
    "transitions": ("confidence", "ease", "transitions"),
}


class ModelCache:
    """Scorers fitted to the training part of a split.

    Args:
        events: training part.
        scale: lowest and highest rating.
    """

    def __init__(self, events: Interactions, scale: tuple[float, float]) -> None:
        self.events, self.scale = events, scale
        self._weights: dict[str, MovieWeights | None] = {}

    def build_scorer(self, name: str, params: Params) -> BlendScorer | None:
        """Return the scorer of one model; None where the data do not allow it."""
        events = self.events
        if name == "svd":
            svd = fit_svd(events, params.svd, self.scale, params.seed)
            return None if svd is None else svd_scorer(svd)
        confidence = self.compute_confidence(params)
        if name == "als":
            return als_scorer(fit_als(to_matrix(events, confidence), params.als, params.seed))
        weights = self._get_weights(name, params, confidence)
        if weights is None:
            return None
        recency = compute_recency(events, params.recency.half_life_events)
        if name == "ease":
            return ease_scorer(events, confidence, recency, params, weights)
        return transitions_scorer(events, confidence, recency, weights)

    def compute_confidence(self, params: Params) -> Floats:
        """Compute the confidence [E] of the training pairs."""
        return compute_confidence(self.events, params.confidence, self.scale)

    def evict(self, params: Params) -> None:
        """Remove all models but those of these parameters."""
        kept = {_key(name, _FIT_SECTIONS[name], params) for name in _FIT_SECTIONS}
        self._weights = {key: weights for key, weights in self._weights.items() if key in kept}

    def _get_weights(self, name: str, params: Params, confidence: Floats) -> MovieWeights | None:
        key = _key(name, _FIT_SECTIONS[name], params)
        if key not in self._weights:
            matrix = to_matrix(self.events, confidence)
            fit: Callable[[], MovieWeights | None] = (
                (lambda: fit_ease(matrix, params.ease))
                if name == "ease"
                else lambda: fit_transitions(
                    self.events, matrix, params.transitions, params.ease.max_movies
                )
            )
            self._weights[key] = fit()
        return self._weights[key]


class SplitEvaluator:
    """Computes the lists that `marquee train` would compute for a split's users, and their metrics.

    Attributes:
        split: the split.
        users: [Q] numbers of the users that are evaluated.
        event_counts: [Q] pairs of each of them in the training part.

    Args:
        split: the split.
        models: scorers fitted to its training part.
        k: movies recommended to each user.
        max_users: users that are evaluated at most, drawn at random; None: all.
    """

    def __init__(
        self, split: Split, models: ModelCache, k: int = 10, max_users: int | None = MAX_USERS
    ) -> None:
        self.split, self._models, self._k = split, models, k
        self.users = split.users
        if max_users is not None and len(self.users) > max_users:
            self.users = np.sort(np.random.default_rng(0).permutation(self.users)[:max_users])
        self.event_counts = np.diff(split.train.start)[self.users]
        self._seen = _select_users(split.train, self.users)
        self._relevant = np.zeros((len(self.users), len(split.train.movies)), bool)
        start, movies = _select_users(split.test, self.users)
        self._relevant[np.repeat(np.arange(len(self.users)), np.diff(start)), movies] = True
        self._scores: dict[str, Floats | None] = {}

    def evaluate(self, params: Params) -> dict[str, float]:
        """Return means over the users (ndcg, recall, precision, map), and coverage."""
        metrics, coverage = self.evaluate_users(params)
        means = {name: value for name, value in metrics.mean().items() if value is not None}
        return {**means, "coverage": coverage}

    def evaluate_users(self, params: Params) -> tuple[PerUserMetrics, float]:
        """Return the metrics of each user, and the share of all movies recommended to anyone."""
        lists = self.recommend(params)
        # The column that is added stands for the end of a shorter list.
        padded = np.pad(self._relevant, ((0, 0), (0, 1)))
        hits = np.take_along_axis(padded, lists, axis=1)
        movies = self._relevant.shape[1]
        coverage = len(np.unique(lists[lists < movies])) / movies
        return ranking_metrics(hits, self._relevant.sum(axis=1)), coverage

    def recommend(self, params: Params) -> NDArray[np.intp]:
        """Return the movies [Q, k] recommended to each user, best first; N fills up a list."""
        scorers = {
            name: scorer
            for name in _SECTIONS
            if getattr(params.blend, name) > 0
            and (scorer := self._get_scorer(name, params)) is not None
        }
        matrix = to_matrix(self.split.train, self._models.compute_confidence(params))
        counts = np.diff(matrix.indptr)[self.users]
        blend = blend_scorers(scorers, self._popularity(params.popularity), counts, params.blend)
        lists = np.empty((len(self.users), self._k), np.intp)
        fill_lists(lists, blend, self._seen, params.lists.block_size)
        return lists

    def evict(self, params: Params) -> None:
        """Remove everything from the cache but the models and scores of these parameters."""
        kept = {_key(name, sections, params) for name, sections in _SECTIONS.items()}
        self._scores = {key: scores for key, scores in self._scores.items() if key in kept}
        self._models.evict(params)

    def _popularity(self, params: PopularityParams) -> SameForAllScorer:
        if params.half_life_days == "auto":
            params = PopularityParams(half_life_days=self._half_life_days)
        return SameForAllScorer(compute_popularity(self.split.train, params))

    @cached_property
    def _half_life_days(self) -> float:
        return find_half_life(self.split.train)

    def _get_scorer(self, name: str, params: Params) -> BlendScorer | None:
        key = _key(name, _SECTIONS[name], params)
        if key not in self._scores:
            scorer = self._models.build_scorer(name, params)
            self._scores[key] = None if scorer is None else self._score_users(scorer)
        scores = self._scores[key]
        return None if scores is None else _CachedScorer(scores)

    def _score_users(self, scorer: BlendScorer) -> Floats:
        """Compute scores [Q, N] of the users."""
        return np.concatenate([scorer.scores(user, user + 1) for user in self.users.tolist()])


class _CachedScorer:
    """Scores [Q, N] that are computed already."""

    def __init__(self, scores: Floats) -> None:
        self._scores = scores

    def scores(self, first: int, last: int) -> Floats:
        """See `Scorer.scores`."""
        return self._scores[first:last].copy()

    def add_scores(self, first: int, last: int, weight: Floats, total: Floats) -> None:
        """See `BlendScorer.add_scores`."""
        total += self._scores[first:last] * weight


def _key(name: str, sections: tuple[str, ...], params: Params) -> str:
    """Return everything that a model depends on, as text."""
    values: list[Any] = [getattr(params, section).model_dump_json() for section in sections]
    return "|".join([name, str(params.seed), *values])


def _select_users(events: Interactions, users: NDArray[np.intp]) -> SeenMovies:
    """Return the movies of some users [Q]."""
    counts = np.diff(events.start)[users]
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    offset = np.arange(start[-1]) - np.repeat(start[:-1], counts)
    return SeenMovies(start, events.movie[np.repeat(events.start[users], counts) + offset])
