"""Everything that is fitted to the events, and the scorer made of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.interactions import Interactions
from app.training.params import BlendParams, Params
from app.training.progress import Stages
from app.training.ranking.als import AlsFactors, fit_als
from app.training.ranking.blend import Blend, Weight
from app.training.ranking.confidence import strength_matrix, strengths
from app.training.ranking.ease import EaseScorer, EaseWeights, fit_ease
from app.training.ranking.item_transitions import fit_neighbours
from app.training.ranking.popularity import popularity
from app.training.ranking.recency_weights import fading
from app.training.ranking.scorer import FactorScorer, Floats, SameForAllScorer, Scorer
from app.training.svd import RatingModel, fit_ratings

#: Ratings that take longer to fit, seconds, than a process takes to start.
_WORTH_A_PROCESS = 200_000


@dataclass(frozen=True)
class Fitted:
    """The fitted models.

    Attributes:
        strength: [E] how much each pair counts.
        strengths: the same as a matrix [U, N].
        fading: [E] what is left of each pair after the user's newer ones.
        ratings: the rating predictor; None without ratings.
        als: factors; None when its weight is 0, as for the next two.
        ease: item-item weights.
        neighbours: how often movies follow each other; None without times, too.
        popularity: [N] popularity in time.
    """

    strength: Floats
    strengths: sparse.csr_array
    fading: Floats
    ratings: RatingModel | None
    als: AlsFactors | None
    ease: EaseWeights | None
    neighbours: EaseWeights | None
    popularity: NDArray[np.float64]

    def scorer(self, events: Interactions, params: Params) -> Blend:
        """The blend that ranks movies for the users of `events`."""
        weights = params.blend
        known = np.diff(self.strengths.indptr)
        parts: list[tuple[Weight, Scorer]] = [
            (popularity_weight(known, weights), SameForAllScorer(self.popularity))
        ]
        if self.als is not None:
            parts.append((weights.als, FactorScorer(self.als.users, self.als.items)))
        if self.ease is not None:
            seen = self.strength * faded_share(self.fading, params)
            parts.append((weights.ease, EaseScorer(strength_matrix(events, seen), self.ease)))
        if self.neighbours is not None:
            seen = self.strength * self.fading
            scorer = EaseScorer(strength_matrix(events, seen), self.neighbours)
            parts.append((weights.neighbours, scorer))
        if self.ratings is not None:
            parts.append((weights.svd, rating_scorer(self.ratings)))
        return Blend(parts)


def fit(events: Interactions, params: Params, scale: tuple[float, float], stages: Stages) -> Fitted:
    """Fit all models whose weight is not 0, and the rating predictor.

    Args:
        events: what to learn from.
        params: parameters of all models, and the seed.
        scale: lowest and highest rating.
        stages: told about progress.
    """
    strength = strengths(events, params.events, scale)
    matrix = strength_matrix(events, strength)
    als, ease, neighbours = None, None, None
    with _fitting_ratings(events, params, scale) as rating_model:
        if params.blend.als > 0:
            with stages.stage("als", params.als.iterations) as advance:
                als = fit_als(matrix, params.als, params.seed, lambda: advance(1))
        if params.blend.ease > 0:
            with stages.stage("ease"):
                ease = fit_ease(matrix, params.ease)
        if params.blend.neighbours > 0:
            with stages.stage("neighbours"):
                neighbours = fit_neighbours(events, matrix, params.neighbours, params.ease)
        with stages.stage("svd"):
            ratings = rating_model()
    faded = fading(events, params.recency.half_life_events)
    popular = popularity(events, params.popularity)
    return Fitted(strength, matrix, faded, ratings, als, ease, neighbours, popular)


@contextmanager
def _fitting_ratings(
    events: Interactions, params: Params, scale: tuple[float, float]
) -> Iterator[Callable[[], RatingModel | None]]:
    """Begin to fit the rating predictor; what is yielded waits for it.

    Surprise uses one core and lets no other thread of its process run, so where there is much to
    fit it gets a process of its own. The result is the same in either.
    """
    job = (events, params.ratings, scale, params.seed)
    if np.isfinite(events.rating).sum() < _WORTH_A_PROCESS:
        yield lambda: fit_ratings(*job)
        return
    # Not forked: a fork would copy other libraries' locks without the threads that hold them.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        yield processes.submit(fit_ratings, *job).result


def popularity_weight(events: NDArray[np.integer[Any]], weights: BlendParams) -> Floats:
    """[U] The fewer events tell about a user, the more popularity has to."""
    weight = weights.popularity + weights.newcomer / np.maximum(events, 1)
    return np.asarray(weight, dtype=np.float32)


def faded_share(faded: Floats, params: Params) -> Floats:
    """[E] What each pair counts in EASE's sum, beside its strength."""
    share = np.float32(params.recency.ease)
    return np.asarray(1 - share + share * faded, dtype=np.float32)


def rating_scorer(model: RatingModel) -> FactorScorer:
    """The SVD's estimate as factors; the user's own bias changes no order."""
    known = model.users.any(axis=1, keepdims=True).astype(np.float32)
    bias = model.item_bias[:, None].astype(np.float32)
    return FactorScorer(np.hstack([model.users, known]), np.hstack([model.items, bias]))
