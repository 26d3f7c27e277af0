"""How good ranked lists and rating estimates are. Definitions: docs/model.md."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PerUser:
    """Ranking metrics of `Q` users, each from 0 to 1."""

    ndcg: Floats
    recall: Floats
    precision: Floats
    map: Floats

    def mean(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> dict[str, float | None]:
        """Each metric's mean over the chosen users, None when there is no user."""
        columns = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__}
        return {name: float(c.mean()) if len(c) else None for name, c in columns.items()}


def rank_metrics(hits: NDArray[np.bool_], relevant: NDArray[np.int64]) -> PerUser:
    """Metrics at depth k, relevance being binary.

    Args:
        hits: [Q, k] whether the movie at each place of a user's list is relevant; False where the
            list has ended.
        relevant: [Q] number of relevant movies, recommended or not; at least 1.
    """
    depth = hits.shape[1]
    discount = 1 / np.log2(np.arange(2, depth + 2))
    reachable = np.minimum(relevant, depth)
    found = hits.sum(axis=1)
    precision_at = np.cumsum(hits, axis=1) / np.arange(1, depth + 1)
    return PerUser(
        ndcg=(hits @ discount) / np.cumsum(discount)[reachable - 1],
        recall=found / relevant,
        precision=found / depth,
        map=(precision_at * hits).sum(axis=1) / reachable,
    )


def gini(exposure: NDArray[np.int64]) -> float:
    """Gini coefficient of exposure: 0 for equal exposure, near 1 for a few movies only."""
    total, movies = int(exposure.sum()), len(exposure)
    if total == 0:
        return 0.0
    ranks = 2 * np.arange(1, movies + 1) - movies - 1
    return float((ranks * np.sort(exposure)).sum() / (movies * total))


def error_metrics(estimate: Floats, rating: NDArray[np.float32]) -> dict[str, float | None]:
    """Root mean square and mean absolute error; None when there is nothing to compare."""
    if len(rating) == 0:
        return {"rmse": None, "mae": None}
    error = estimate - rating
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.abs(error).mean())}
