"""Intervals by user bootstrap, tests of groups, and corrections for many of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

Floats = NDArray[np.float64]

#: Numbers drawn at a time: 16 MB.
_DRAWN = 2_000_000
#: A sum of squared deviations below this share of the sum of squares is a rounding error of 0, and
#: so is a difference of two means below it.
_ROUNDING = 1e-12


class Differences(NamedTuple):
    """The differences of `G` groups from all other users, in each of `m` metrics.

    The arrays are [..., G, m], and not a number where no stratum has two users on either side.

    Attributes:
        value: the mean of the group minus that of the others.
        error: standard error of the value.
        degrees: degrees of freedom of the error.
    """

    value: Floats
    error: Floats
    degrees: Floats

    def compute_statistics(self) -> Floats:
        """Return the differences as multiples of their standard errors, without their signs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            multiples = np.abs(self.value) / self.error
        without_variance = np.where(np.abs(self.value) <= _ROUNDING, 0, np.inf)
        return np.where(self.error == 0, without_variance, multiples)

    def compute_intervals(self, significance: float) -> tuple[Floats, Floats]:
        """Return the lower and upper ends of the intervals of the values."""
        half = special.stdtrit(self.degrees, 1 - significance / 2) * self.error
        half = np.where(self.error == 0, 0, half)
        return self.value - half, self.value + half


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


class Tests(NamedTuple):
    """The tests of `G` groups in `m` metrics; not a number where a side has too few users.

    Attributes:
        value, low, high: [G, m] the mean of the group minus that of the others, and its interval.
        statistic: [G, m] the difference as a multiple of its standard error.
        permuted: [B, G, m] statistics of the same tests on permuted users.
    """

    value: Floats
    low: Floats
    high: Floats
    statistic: Floats
    permuted: Floats


class GroupComparison:
    """Compares groups of users with all other users, stratum by stratum.

    The differences of the strata are weighted by their information where all values vary alike,
    n1 n2 / (n1 + n2); a stratum with fewer than two users on a side is left out. The standard error
    is Welch's, except that the variance of neither side counts less than that of both together:
    users of a small group who lack a rare value by chance vary little. The degrees of freedom are
    Satterthwaite's.
    """

    def __init__(
        self, values: Floats, members: NDArray[np.bool_], strata: NDArray[np.integer] | None = None
    ) -> None:
        """Sort the users by stratum.

        Args:
            values: [Q, m] metrics of each user.
            members: [G, Q] whether the user belongs to the group.
            strata: [Q] number of the user's stratum; None: all users are in one.
        """
        numbers = np.zeros(len(values), np.intp) if strata is None else strata
        centred = values - values.mean(axis=0)
        self._strata = [
            _Stratum(centred[inside], members[:, inside])
            for inside in (numbers == number for number in np.unique(numbers))
        ]

    def test(self, significance: float, resamples: int, rng: np.random.Generator) -> Tests:
        """Return the tests.

        Args:
            significance: 1 minus the confidence of the intervals.
            resamples: number of permutations.
            rng: draws them.
        """
        found = self.compare()
        low, high = found.compute_intervals(significance)
        permuted = self.permute(resamples, rng)
        return Tests(found.value, low, high, found.compute_statistics(), permuted)

    def compare(self) -> Differences:
        """Return the differences [G, m]."""
        return self._join([stratum.sum_members(stratum.values) for stratum in self._strata])

    def permute(self, resamples: int, rng: np.random.Generator) -> Floats:
        """Return the statistics [resamples, G, m] of the same tests where no group differs.

        The users change places within their stratum, each with all metrics.
        """
        sums = [
            np.stack(
                [stratum.sum_members(rng.permutation(stratum.values)) for _ in range(resamples)]
            )
            for stratum in self._strata
        ]
        return self._join(sums).compute_statistics()

    def _join(self, sums: list[Floats]) -> Differences:
        value = variance = spread = np.zeros(1)
        for stratum, own in zip(self._strata, sums, strict=True):
            difference, sides = stratum.compare(own)
            value = value + stratum.weight * difference
            for side, size in zip(sides, stratum.sizes, strict=True):
                part = stratum.weight**2 * side
                variance = variance + part
                spread = spread + part**2 / np.maximum(1, size - 1)
        total = sum(stratum.weight for stratum in self._strata)
        with np.errstate(divide="ignore", invalid="ignore"):
            return Differences(value / total, np.sqrt(variance) / total, variance**2 / spread)


class _Stratum:
    """The users of one stratum: sums of values and of their squares, by group.

    Attributes:
        values: [q, 2m] the values, and their squares.
        sizes: [G, 1] number of the group's users, and of the others.
        weight: [G, 1] of the stratum's difference; 0 where a side has fewer than two users.
    """

    def __init__(self, values: Floats, members: NDArray[np.bool_]) -> None:
        self.values = np.hstack([values, values**2])
        self._totals = self.values.sum(axis=0)
        self._members = sparse.csr_array(members, dtype=np.float64)
        size = members.sum(axis=1)[:, None]
        self.sizes = (size, len(values) - size)
        has_variance = np.minimum(*self.sizes) >= 2  # noqa: PLR2004 - a variance needs two values
        self.weight: Floats = has_variance * self.sizes[0] * self.sizes[1] / max(1, len(values))

    def sum_members(self, values: Floats) -> Floats:
        """Return the sums [G, 2m] over the users of each group."""
        sums: Floats = self._members @ values
        return sums

    def compare(self, sums: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
        """Return group minus others, and the variance of the mean of either.

        Args:
            sums: [..., G, 2m] as `sum_members` returns them.
        """
        means, deviations = [], []
        for own, size in zip((sums, self._totals - sums), self.sizes, strict=True):
            total, squares = np.split(own, 2, axis=-1)
            around = squares - total**2 / np.maximum(1, size)
            deviations.append(np.where(around > _ROUNDING * squares, around, 0))
            means.append(total / np.maximum(1, size))
        joint = sum(deviations) / np.maximum(1, sum(self.sizes) - 2)
        first, second = (
            np.maximum(around / np.maximum(1, size - 1), joint) / np.maximum(1, size)
            for around, size in zip(deviations, self.sizes, strict=True)
        )
        return means[0] - means[1], (first, second)


def compute_p_values(statistics: Floats, permuted: Floats) -> Floats:
    """Return the p-value [T] of each test by itself: the share of permutations as large.

    Args:
        statistics: [T] of the tests.
        permuted: [B, T] of the same tests on permuted users.
    """
    as_large = permuted >= statistics * (1 - 1e-9)
    # The users as they are count as one of the permutations.
    shares: Floats = (1 + as_large.sum(axis=0)) / (1 + len(permuted))
    return shares


def correct_by_permutation(statistics: Floats, permuted: Floats) -> Floats:
    """Return p-values corrected by the step-down procedure of Westfall and Young.

    A corrected p-value is the share of permutations in which any test has a statistic as large, of
    those tests that have no larger one. Where all below a level count as found, the probability
    that any of these is none is at most that level, whatever the distribution of the metrics and
    however the tests depend on each other.

    Args:
        statistics: [T] of the tests.
        permuted: [B, T] of the same tests on permuted users.
    """
    order = np.argsort(statistics, kind="stable")
    largest = np.maximum.accumulate(permuted[:, order], axis=1)
    shares = compute_p_values(statistics[order], largest)
    corrected = np.empty(len(statistics))
    corrected[order] = np.maximum.accumulate(shares[::-1])[::-1]
    return corrected


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
