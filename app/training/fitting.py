"""Everything that is fitted to the events, and the scorer made of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.training.data import Interactions
from app.training.params import BlendParams, Params
from app.training.progress import Stages
from app.training.ranking.als import AlsFactors, fit_als
from app.training.ranking.blend import Blend
from app.training.ranking.popularity import popularity
from app.training.ranking.scorer import FactorScorer, SameForAllScorer, Scorer
from app.training.ranking.strength import strength_matrix, strengths
from app.training.ratings_model import RatingModel, fit_ratings


@dataclass(frozen=True)
class Fitted:
    """The fitted models.

    Attributes:
        ratings: the rating predictor; None without ratings.
        als: factors for the ranking.
        popularity: [N] popularity in time.
        strength: [E] strength of each pair.
    """

    ratings: RatingModel | None
    als: AlsFactors
    popularity: NDArray[np.float64]
    strength: NDArray[np.float32]

    def scorer(self, params: BlendParams) -> Scorer:
        """The blend that ranks films, with these weights."""
        parts: list[tuple[float, Scorer]] = [
            (params.als, FactorScorer(self.als.users, self.als.items)),
            (params.popularity, SameForAllScorer(self.popularity)),
        ]
        if self.ratings is not None and params.svd > 0:
            parts.append((params.svd, _rating_scorer(self.ratings)))
        return Blend(parts)


def fit(events: Interactions, params: Params, scale: tuple[float, float], stages: Stages) -> Fitted:
    """Fit all models.

    Args:
        events: what to learn from.
        params: parameters of all models, and the seed.
        scale: lowest and highest rating.
        stages: told about progress.
    """
    with stages.stage("ratings"):
        ratings = fit_ratings(events, params.ratings, scale, params.seed)
    strength = strengths(events, params.events, scale)
    with stages.stage("ranking", params.als.iterations) as advance:
        matrix = strength_matrix(events, strength)
        als = fit_als(matrix, params.als, params.seed, lambda: advance(1))
    return Fitted(ratings, als, popularity(events, params.popularity), strength)


def _rating_scorer(model: RatingModel) -> FactorScorer:
    """The SVD's estimate as factors; the user's own bias changes no order."""
    known = model.users.any(axis=1, keepdims=True).astype(np.float32)
    bias = model.item_bias[:, None].astype(np.float32)
    return FactorScorer(np.hstack([model.users, known]), np.hstack([model.items, bias]))
