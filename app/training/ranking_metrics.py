"""Metrics of ranked lists and of rating estimates. docs/model.md defines them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PerUserMetrics:
    """Ranking metrics of `Q` users, each from 0 to 1."""

    ndcg: Floats
    recall: Floats
    precision: Floats
    map: Floats

    def mean(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> dict[str, float | None]:
        """Return each metric's mean over the chosen users; None without users."""
        columns = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__}
        return {name: float(c.mean()) if len(c) else None for name, c in columns.items()}


def ranking_metrics(hits: NDArray[np.bool_], relevant: NDArray[np.int64]) -> PerUserMetrics:
    """Compute metrics at depth k of binary relevance.

    Args:
        hits: [Q, k] whether the movie at each position of a user's list is relevant; False after
            the end of a shorter list.
        relevant: [Q] number of relevant movies, recommended or not; at least 1.
    """
    depth = hits.shape[1]
    discount = 1 / np.log2(np.arange(2, depth + 2))
    reachable = np.minimum(relevant, depth)
    found = hits.sum(axis=1)
    precision_at = np.cumsum(hits, axis=1) / np.arange(1, depth + 1)
    return PerUserMetrics(
        ndcg=(hits @ discount) / np.cumsum(discount)[reachable - 1],
        recall=found / relevant,
        precision=found / depth,
        map=(precision_at * hits).sum(axis=1) / reachable,
    )


def gini(exposure: NDArray[np.int64]) -> float:
    """Compute the Gini coefficient of exposure: 0 for equal exposure, near 1 for a few movies."""
    total, movies = int(exposure.sum()), len(exposure)
    if total == 0:
        return 0.0
    ranks = 2 * np.arange(1, movies + 1) - movies - 1
    return float((ranks * np.sort(exposure)).sum() / (movies * total))


def error_metrics(estimate: Floats, rating: NDArray[np.float32]) -> dict[str, float | None]:
    """Compute the root mean square and mean absolute error; None without ratings."""
    if len(rating) == 0:
        return {"rmse": None, "mae": None}
    error = estimate - rating
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.abs(error).mean())}
