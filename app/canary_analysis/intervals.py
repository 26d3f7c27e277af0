"""Intervals at the deadline, for shares and means whose failures come in bursts.

Counts are divided by a design effect (Rao and Scott 1992, "A simple method for the analysis of
clustered binary data"): how much more the slots' shares vary between blocks of minutes than
independent requests would. The bounds of one share are Jeffreys'; those of a difference combine the
distances of both shares' bounds (Newcombe 1998; Zou and Donner 2008, "MOVER").

Arrays have any number of leading axes (releases) and a last axis of minutes.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

inverse_normal = np.vectorize(NormalDist().inv_cdf, otypes=[float])

#: A ratio of variances counts if it exceeds this quantile (standard normal) of chance.
_SIGNIFICANT_Z = 3.5


class Shares(NamedTuple):
    """Failures and requests of one slot, or of several slots together, per minute."""

    bad: Counts
    total: Counts


class Interval(NamedTuple):
    """Lower bound, estimate, upper bound."""

    lower: Floats
    value: Floats
    upper: Floats


class DesignEffect(NamedTuple):
    """Ratio of variances (at least 1), and degrees of freedom of its estimate."""

    ratio: Floats
    freedom: Floats

    def max(self, other: "DesignEffect") -> "DesignEffect":
        """Return the larger ratio with its degrees of freedom."""
        larger = other.ratio > self.ratio
        return DesignEffect(
            np.where(larger, other.ratio, self.ratio), np.where(larger, other.freedom, self.freedom)
        )


def jeffreys_bounds(bad: Floats, total: Floats, z_low: Floats, z_high: Floats) -> Interval:
    """Return Jeffreys' interval of a share; `bad` and `total` need not be whole numbers.

    The bounds are quantiles of the beta distribution with `bad + 1/2` and `total - bad + 1/2`
    (Brown, Cai and DasGupta 2001), here from Paulson's approximation (1942).
    """
    total = np.maximum(total, 1e-9)
    bad = np.minimum(bad, total)
    lower = _beta_quantile(bad + 0.5, total - bad + 0.5, -np.asarray(z_low))
    upper = _beta_quantile(bad + 0.5, total - bad + 0.5, np.asarray(z_high))
    share = bad / total
    return Interval(np.minimum(lower, share), share, np.maximum(upper, share))


def _beta_quantile(a: Floats, b: Floats, z: Floats) -> Floats:
    """Quantile of a beta distribution at the standard normal quantile `z`."""
    # The approximation is better for the smaller of both parameters: mirror the others.
    mirrored = a > b
    a, b, z = np.where(mirrored, b, a), np.where(mirrored, a, b), np.where(mirrored, -z, z)
    first, second = 1 / (9 * a), 1 / (9 * b)
    one, two = 1 - first, 1 - second
    root = np.sqrt(np.maximum(one**2 * second + two**2 * first - first * second * z**2, 0))
    ratio = np.maximum(one * two + z * root, 0) / np.maximum(two**2 - second * z**2, 1e-9)
    odds = a * ratio**3
    return np.where(mirrored, b / (b + odds), odds / (b + odds))


def block_lengths(minutes: int, max_burst_minutes: int) -> list[int]:
    """Return the lengths of blocks between which a variance is estimated: at least five blocks."""
    longest = max(min(2 * max_burst_minutes, minutes // 5), 1)
    return sorted({1, max(longest // 4, 1), longest})


def block_sums(values: NDArray[np.generic], length: int) -> Floats:
    """Sum blocks of `length` minutes; the last block may be shorter."""
    starts = np.arange(0, values.shape[-1], length)
    result: Floats = np.add.reduceat(values, starts, axis=-1).astype(np.float64)
    return result


def difference_design_effect(first: Shares, second: Shares, lengths: list[int]) -> DesignEffect:
    """Return how much more a difference of shares varies than between independent requests.

    Bursts that hit both at the same time cancel in the difference and do not count.
    """
    totals = [np.maximum(s.total.sum(-1, keepdims=True), 1) for s in (first, second)]
    shares = [
        s.bad.sum(-1, keepdims=True) / total
        for s, total in zip((first, second), totals, strict=True)
    ]
    residuals = (first.bad - shares[0] * first.total) / totals[0]
    residuals = residuals - (second.bad - shares[1] * second.total) / totals[1]
    independent = sum(s * (1 - s) / n for s, n in zip(shares, totals, strict=True))
    return _design_effect(residuals, independent[..., 0], lengths)


def share_design_effect(shares: Shares, lengths: list[int]) -> DesignEffect:
    """Return how much more a share varies than between independent requests."""
    total = np.maximum(shares.total.sum(-1, keepdims=True), 1)
    share = shares.bad.sum(-1, keepdims=True) / total
    residuals = (shares.bad - share * shares.total) / total
    return _design_effect(residuals, (share * (1 - share) / total)[..., 0], lengths)


def _design_effect(residuals: Floats, independent: Floats, lengths: list[int]) -> DesignEffect:
    """Compare the variance between blocks with that of independent requests."""
    effect = DesignEffect(np.ones(independent.shape), np.full(independent.shape, np.inf))
    for length in lengths:
        sums = block_sums(residuals, length)
        freedom = sums.shape[-1] - 1
        if freedom < 1:
            continue
        variance = (sums**2).sum(-1) * (freedom + 1) / freedom
        ratio = np.divide(
            variance, independent, out=np.ones_like(independent), where=independent > 0
        )
        significant = ratio > _largest_by_chance(freedom)
        found = DesignEffect(
            np.where(significant, ratio, 1.0), np.where(significant, freedom, np.inf)
        )
        effect = effect.max(found)
    return effect


def _largest_by_chance(freedom: int) -> float:
    """Quantile of chi squared over its degrees of freedom (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return float((1 - spread + _SIGNIFICANT_Z * spread**0.5) ** 3)


def t_quantile(error_rate: Floats | float, freedom: Floats) -> Floats:
    """Quantile of Student's t distribution, from its expansion (Abramowitz and Stegun 26.7.5)."""
    z = inverse_normal(1 - np.asarray(error_rate))
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    inverse = 1 / np.maximum(freedom, 1)
    result: Floats = z + first * inverse + second * inverse**2 + third * inverse**3
    return result


class ErrorRates(NamedTuple):
    """One-sided error rates of the lower and of the upper bound."""

    lower: Floats | float
    upper: Floats | float


def share_interval(shares: Shares, effect: DesignEffect, errors: ErrorRates) -> Interval:
    """Return the interval of one share over all minutes."""
    return jeffreys_bounds(
        shares.bad.sum(-1) / effect.ratio,
        shares.total.sum(-1) / effect.ratio,
        t_quantile(errors.lower, effect.freedom),
        t_quantile(errors.upper, effect.freedom),
    )


def difference_interval(
    canary: Shares,
    stables: Shares,
    multiple: float,
    effects: tuple[DesignEffect, DesignEffect],
    errors: ErrorRates,
) -> Interval:
    """Return the interval of (canary's share - stables' share), with the limit's uncertainty added.

    The limit is a constant plus `multiple` times the stables' share, whose error counts too: the
    bounds are those of canary - (1 + multiple) * stables, moved by the estimate of multiple *
    stables. So the interval can be compared with the limit as estimated.

    Args:
        canary: the canary's minutes.
        stables: minutes of all stables together.
        multiple: multiple of the stables' share in the limit.
        effects: design effects of the difference, and of the stables' share itself.
        errors: one-sided error rates.
    """
    c = share_interval(canary, effects[0], errors)
    s = share_interval(stables, effects[0], ErrorRates(errors.upper, errors.lower))
    # A bound that rests on few bursts is skewed: it gets the smaller error rate.
    smaller = np.minimum(errors.lower, errors.upper)
    own = share_interval(stables, effects[1], ErrorRates(errors.upper, errors.lower))
    strict = share_interval(stables, effects[1], ErrorRates(smaller, smaller))
    bursts = effects[1].ratio > 1
    own = Interval(*(np.where(bursts, b, a) for a, b in zip(own, strict, strict=True)))
    below = np.hypot(c.value - c.lower, (s.upper - s.value) + multiple * (own.upper - s.value))
    above = np.hypot(c.upper - c.value, (s.value - s.lower) + multiple * (s.value - own.lower))
    difference = c.value - s.value
    return Interval(difference - below, difference, difference + above)
