"""The parts of the blend, fitted one at a time and kept while their parameters stay."""

from collections.abc import Callable
from typing import Any

from app.training.fit import faded_share, rating_scorer
from app.training.interactions import Interactions
from app.training.params import Params
from app.training.ranking.als import fit_als
from app.training.ranking.confidence import strength_matrix, strengths
from app.training.ranking.ease import EaseScorer, EaseWeights, fit_ease
from app.training.ranking.item_transitions import fit_neighbours
from app.training.ranking.recency_weights import fading
from app.training.ranking.scorer import FactorScorer, Scorer
from app.training.svd import fit_ratings

#: The sections of the parameters that each part's scores depend on.
SECTIONS = {
    "als": ("events", "als"),
    "ease": ("events", "ease", "recency"),
    "neighbours": ("events", "ease", "recency", "neighbours"),
    "svd": ("ratings",),
}
#: Those that its fit depends on, where they are fewer.
_FIT = {"ease": ("events", "ease"), "neighbours": ("events", "ease", "neighbours")}


class Models:
    """What is learned from one table of events.

    Args:
        events: what to learn from.
        scale: lowest and highest rating.
    """

    def __init__(self, events: Interactions, scale: tuple[float, float]) -> None:
        self._events, self._scale = events, scale
        self._fitted: dict[str, Any] = {}

    def scorer(self, part: str, params: Params) -> Scorer | None:
        """The scorer of one part; None where this input allows none."""
        if part == "als":
            matrix = strength_matrix(self._events, self._strengths(params))
            als = fit_als(matrix, params.als, params.seed)
            return FactorScorer(als.users, als.items)
        if part == "svd":
            ratings = fit_ratings(self._events, params.ratings, self._scale, params.seed)
            return None if ratings is None else rating_scorer(ratings)
        weights = self._weights(part, params)
        if weights is None:
            return None
        left = fading(self._events, params.recency.half_life_events)
        if part == "ease":
            left = faded_share(left, params)
        return EaseScorer(strength_matrix(self._events, self._strengths(params) * left), weights)

    def keep(self, params: Params) -> None:
        """Forget all fits but those of these parameters."""
        kept = {key_of(part, *sections, params=params) for part, sections in _FIT.items()}
        self._fitted = {key: model for key, model in self._fitted.items() if key in kept}

    def _strengths(self, params: Params) -> Any:
        return strengths(self._events, params.events, self._scale)

    def _weights(self, part: str, params: Params) -> EaseWeights | None:
        def fit() -> EaseWeights | None:
            matrix = strength_matrix(self._events, self._strengths(params))
            if part == "ease":
                return fit_ease(matrix, params.ease)
            return fit_neighbours(self._events, matrix, params.neighbours, params.ease)

        fitted: EaseWeights | None = self._once(key_of(part, *_FIT[part], params=params), fit)
        return fitted

    def _once(self, key: str, fit: Callable[[], Any]) -> Any:
        if key not in self._fitted:
            self._fitted[key] = fit()
        return self._fitted[key]


def key_of(part: str, *sections: str, params: Params) -> str:
    """What the scores of a part depend on, as text."""
    values = (getattr(params, section).model_dump_json() for section in sections)
    return "|".join([part, str(params.seed), *values])
