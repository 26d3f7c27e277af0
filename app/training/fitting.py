"""Everything that is fitted to the events, and the scorer made of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.data import Interactions
from app.training.params import BlendParams, Params
from app.training.progress import Stages
from app.training.ranking.als import AlsFactors, fit_als
from app.training.ranking.blend import Blend, Weight
from app.training.ranking.ease import EaseScorer, EaseWeights, fit_ease
from app.training.ranking.popularity import popularity
from app.training.ranking.scorer import FactorScorer, SameForAllScorer, Scorer
from app.training.ranking.strength import strength_matrix, strengths
from app.training.ratings_model import RatingModel, fit_ratings


@dataclass(frozen=True)
class Fitted:
    """The fitted models.

    Attributes:
        strength: [E] how much each pair counts.
        strengths: the same as a matrix [U, N].
        ratings: the rating predictor; None without ratings.
        als: factors; None when its weight is 0, as for the next.
        ease: item-item weights.
        popularity: [N] popularity in time.
    """

    strength: NDArray[np.float32]
    strengths: sparse.csr_array
    ratings: RatingModel | None
    als: AlsFactors | None
    ease: EaseWeights | None
    popularity: NDArray[np.float64]

    def scorer(self, weights: BlendParams) -> Blend:
        """The blend that ranks films, with these weights."""
        parts: list[tuple[Weight, Scorer]] = [
            (self._popularity_weight(weights), SameForAllScorer(self.popularity))
        ]
        if self.als is not None:
            parts.append((weights.als, FactorScorer(self.als.users, self.als.items)))
        if self.ease is not None:
            parts.append((weights.ease, EaseScorer(self.strengths, self.ease)))
        if self.ratings is not None:
            parts.append((weights.svd, _rating_scorer(self.ratings)))
        return Blend(parts)

    def _popularity_weight(self, weights: BlendParams) -> NDArray[np.float32]:
        """[U] The fewer events tell about a user, the more popularity has to."""
        events = np.maximum(np.diff(self.strengths.indptr), 1)
        return np.asarray(weights.popularity + weights.newcomer / events, dtype=np.float32)


def fit(events: Interactions, params: Params, scale: tuple[float, float], stages: Stages) -> Fitted:
    """Fit all models whose weight is not 0, and the rating predictor.

    Args:
        events: what to learn from.
        params: parameters of all models, and the seed.
        scale: lowest and highest rating.
        stages: told about progress.
    """
    with stages.stage("svd"):
        ratings = fit_ratings(events, params.ratings, scale, params.seed)
    strength = strengths(events, params.events, scale)
    matrix = strength_matrix(events, strength)
    als, ease = None, None
    if params.blend.als > 0:
        with stages.stage("als", params.als.iterations) as advance:
            als = fit_als(matrix, params.als, params.seed, lambda: advance(1))
    if params.blend.ease > 0:
        with stages.stage("ease"):
            ease = fit_ease(matrix, params.ease)
    popular = popularity(events, params.popularity)
    return Fitted(strength, matrix, ratings, als, ease, popular)


def _rating_scorer(model: RatingModel) -> FactorScorer:
    """The SVD's estimate as factors; the user's own bias changes no order."""
    known = model.users.any(axis=1, keepdims=True).astype(np.float32)
    bias = model.item_bias[:, None].astype(np.float32)
    return FactorScorer(np.hstack([model.users, known]), np.hstack([model.items, bias]))
