"""Latency from histograms whose buckets may be coarse.

What lies within a bucket is unknown. A canary is called slower only if it is so wherever its
responses lie in their buckets, and not slower only if three ways to interpolate agree.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.intervals import inverse_normal

Floats = NDArray[np.float64]

Scheme = Literal["linear", "logarithmic", "lognormal"]
SCHEMES: tuple[Scheme, ...] = ("linear", "logarithmic", "lognormal")


def bucket_edges(bounds: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper edges of buckets; the last upper edge is infinite.

    Args:
        bounds: finite upper bounds of the buckets in seconds, increasing, shape (buckets - 1,).
    """
    return np.concatenate([[0.0], bounds]), np.concatenate([bounds, [np.inf]])


def representative_seconds(bounds: Floats, scheme: Literal["lowest", "highest"] | Scheme) -> Floats:
    """Return one latency for each bucket, shape (buckets,).

    Args:
        bounds: finite upper bounds in seconds.
        scheme: `lowest` and `highest` are the edges, `linear` the middle, `logarithmic` and
            `lognormal` the mean of a latency whose logarithm is uniform within the bucket. In the
            last bucket, which has no upper edge, all but `lowest` are twice its lower edge.
    """
    low, high = bucket_edges(bounds)
    high[-1] = 2 * low[-1] if len(bounds) else 1.0
    if scheme == "lowest":
        return low
    if scheme == "highest":
        return high
    if scheme == "linear":
        return (low + high) / 2
    start = np.where(low > 0, low, high / 10)
    result: Floats = (high - start) / np.log(high / start)
    return result


def quantile_seconds(counts: Floats, bounds: Floats, level: Floats, scheme: Scheme) -> Floats:
    """Return interpolated quantiles of histograms.

    Args:
        counts: responses in each bucket, shape (..., buckets).
        bounds: finite upper bounds in seconds.
        level: from 0 to 1, shape (...).
        scheme: `linear` like Prometheus' histogram_quantile, `logarithmic` in the logarithm of the
            latency, `lognormal` between normal quantiles of the shares and that logarithm.

    Returns:
        Seconds, shape (...); infinite in the last bucket, NaN without responses.
    """
    total = counts.sum(-1)
    shares = np.cumsum(counts, axis=-1) / np.maximum(total, 1e-9)[..., None]
    level = np.clip(level, 1e-6, 1 - 1e-6)
    index = (shares < level[..., None] - 1e-12).sum(-1).clip(0, counts.shape[-1] - 1)
    low, high = bucket_edges(bounds)
    start, end = low[index], high[index]
    above = np.take_along_axis(shares, index[..., None], -1)[..., 0]
    below = np.where(
        index > 0, np.take_along_axis(shares, np.maximum(index - 1, 0)[..., None], -1)[..., 0], 0.0
    )
    finite_end = np.where(np.isfinite(end), end, 1.0)
    if scheme == "linear":
        fraction = (level - below) / np.maximum(above - below, 1e-12)
        value = start + np.clip(fraction, 0, 1) * (finite_end - start)
    else:
        if scheme == "lognormal":
            tiny = 0.5 / np.maximum(total, 1)
            low_z, high_z, level_z = (
                inverse_normal(np.clip(share, tiny, 1 - tiny).clip(1e-9, 1 - 1e-9))
                for share in (below, above, level)
            )
            fraction = (level_z - low_z) / np.maximum(high_z - low_z, 1e-12)
        else:
            fraction = (level - below) / np.maximum(above - below, 1e-12)
        start = np.where(start > 0, start, finite_end / 10)
        value = start * (finite_end / start) ** np.clip(fraction, 0, 1)
    value = np.where(np.isfinite(end), value, np.inf)
    return np.where(total > 0, value, np.nan)


def quantile_bucket(counts: Floats, level: float) -> NDArray[np.int64]:
    """Return the index of the bucket that contains a quantile, shape (...); 0 without responses."""
    total = counts.sum(-1, keepdims=True)
    below = np.cumsum(counts, axis=-1) < level * total - 1e-9
    result: NDArray[np.int64] = np.minimum(below.sum(-1), counts.shape[-1] - 1)
    return result


def slower_bound_index(
    counts: Floats, bounds: Floats, level: float, limits: tuple[float, float]
) -> NDArray[np.int64]:
    """Return the index of the smallest bound that is certainly beyond the limit of a quantile.

    The limit is the larger of `limits[0]` times the quantile and the quantile plus `limits[1]`
    seconds, with the quantile at the upper edge of its bucket. The result is `len(bounds)` if no
    bound is large enough.
    """
    _, high = bucket_edges(bounds)
    edge = high[quantile_bucket(counts, level)]
    limit = np.maximum(edge * limits[0], edge + limits[1])
    result: NDArray[np.int64] = np.searchsorted(bounds, limit * (1 - 1e-9))
    return result
