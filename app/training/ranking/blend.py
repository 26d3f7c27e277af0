"""Several scorers as one: the weighted sum of their standardised scores."""

import numpy as np

from app.training.errors import TrainingError
from app.training.ranking.scorer import Floats, Scorer

#: One weight for all users, or [U] one for each.
Weight = float | Floats


class Blend:
    """A weighted sum of scorers.

    Args:
        parts: scorers with their weights; those of weight 0 cost nothing.

    Raises:
        TrainingError: no scorer is left.
    """

    def __init__(self, parts: list[tuple[Weight, Scorer]]) -> None:
        self._parts = [(weight, scorer) for weight, scorer in parts if np.any(weight)]
        if not self._parts:
            raise TrainingError("blend: every scorer that this input allows has weight 0")

    def scores(self, first: int, last: int) -> Floats:
        """Scores [last - first, N] float32 for the users numbered `first` to `last - 1`."""
        total: Floats | None = None
        for weight, scorer in self._parts:
            part = scorer.scores(first, last)
            if isinstance(weight, np.ndarray):
                part *= weight[first:last, None]
            else:
                part *= np.float32(weight)
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None  # noqa: S101 - there is at least one part
        return total
