"""Intervals by user bootstrap, tests of differences, and the correction for many of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

#: Numbers drawn at a time: 16 MB.
_DRAWN = 2_000_000


class Difference(NamedTuple):
    """The difference of two means.

    Attributes:
        value: the first mean minus the second one.
        low, high: its interval.
        p_value: of the two-sided test that it is 0.
    """

    value: float
    low: float
    high: float
    p_value: float


def bootstrap_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the means [resamples, m] of resampled rows of `values` [n, m].

    A row is a user: all metrics of a user are drawn together.
    """
    count = len(values)
    means = np.empty((resamples, values.shape[1]))
    step = max(1, _DRAWN // count)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means[first : first + rows] = weights @ values / count
    return means


def interval(samples: Floats, significance: float) -> tuple[float, float]:
    """Return the percentile interval of bootstrap samples, without those that are not finite."""
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return np.nan, np.nan
    low, high = np.quantile(finite, [significance / 2, 1 - significance / 2])
    return float(low), float(high)


def compare_means(first: Floats, second: Floats, significance: float) -> Difference | None:
    """Compare two means (Welch's test); None where a side has fewer than two values."""
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance needs two values
        return None
    variances = [part.var(ddof=1) / len(part) for part in (first, second)]
    counts = [len(first) - 1, len(second) - 1]
    difference = float(first.mean() - second.mean())
    total = sum(variances)
    if total == 0:
        return Difference(difference, difference, difference, float(difference == 0))
    degrees = total**2 / sum(v**2 / n for v, n in zip(variances, counts, strict=True))
    return _to_difference(difference, float(np.sqrt(total)), float(degrees), significance)


def compare_within_strata(
    values: Floats, in_group: NDArray[np.bool_], strata: NDArray[np.integer], significance: float
) -> Difference | None:
    """Compare a group with all others, stratum by stratum.

    The differences of the strata are weighted by their information where all values vary alike,
    n1 n2 / (n1 + n2). Strata with fewer than two users on a side are left out.

    Args:
        values: [Q] a metric of each user.
        in_group: [Q] whether the user belongs to the group.
        strata: [Q] number of the user's stratum.
        significance: 1 minus the confidence of the interval.

    Returns:
        The difference; None where no stratum has two users on either side.
    """
    difference = variance = total = 0.0
    for stratum in np.unique(strata):
        inside = strata == stratum
        first, second = values[inside & in_group], values[inside & ~in_group]
        if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance needs two values
            continue
        weight = len(first) * len(second) / (len(first) + len(second))
        difference += weight * float(first.mean() - second.mean())
        variance += weight**2 * float(first.var(ddof=1) / len(first))
        variance += weight**2 * float(second.var(ddof=1) / len(second))
        total += weight
    if total == 0:
        return None
    if variance == 0:
        mean = difference / total
        return Difference(mean, mean, mean, float(mean == 0))
    degrees = float(min(in_group.sum(), (~in_group).sum()) - 1)
    return _to_difference(difference / total, float(np.sqrt(variance)) / total, degrees,
                          significance)  # fmt: skip


def _to_difference(
    value: float, standard_error: float, degrees: float, significance: float
) -> Difference:
    half = float(stats.t.ppf(1 - significance / 2, degrees)) * standard_error
    p_value = 2 * float(stats.t.sf(abs(value) / standard_error, degrees))
    return Difference(value, value - half, value + half, p_value)


def correct_holm(p_values: list[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down procedure.

    Where all of them below a level count as found, the probability that any of these is none is
    at most that level, however the tests depend on each other.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = highest
    return corrected
