"""Several scorers as one: the weighted sum of their standardised scores."""

import numpy as np

from app.training.errors import TrainingError
from app.training.ranking.scorer import Floats, Scorer


class Blend:
    """A weighted sum of scorers.

    Args:
        parts: scorers with their weights; those of weight 0 cost nothing.

    Raises:
        TrainingError: no scorer is left.
    """

    def __init__(self, parts: list[tuple[float, Scorer]]) -> None:
        self._parts = [(weight, scorer) for weight, scorer in parts if weight > 0]
        if not self._parts:
            raise TrainingError("blend: every scorer that this input allows has weight 0")

    def scores(self, first: int, last: int) -> Floats:
        """Scores [last - first, N] float32 for the users numbered `first` to `last - 1`."""
        (weight, scorer), *others = self._parts
        total = np.multiply(scorer.scores(first, last), np.float32(weight))
        for weight, scorer in others:
            part = scorer.scores(first, last)
            if part.flags.writeable:
                part *= np.float32(weight)
            else:
                part = part[:1] * np.float32(weight)  # the same row for all
            total += part
        return total
