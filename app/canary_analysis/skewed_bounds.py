"""Bounds of an estimate whose error is skewed: of a mean of few or rare values.

Where few answers are taken, or few are not, an estimate and its standard error are wrong together:
a canary that happens to miss few takes also seems to vary little. Normal bounds are then too narrow
on one side and too wide on the other. The studentized estimate is therefore transformed to one that
is nearly normal (Hall, "On the removal of skewness by transformation", Journal of the Royal
Statistical Society B, 1992), with a cubic that has an inverse in closed form.
"""

import math
from statistics import NormalDist


def find_bound(
    estimate: float, standard_error: float, skewness: float, probability: float
) -> float:
    """The value that the true one is below with a probability.

    Args:
        estimate: of a sum of independent parts.
        standard_error: of it.
        skewness: of it, from the parts' third powers; 0: normal bounds.
        probability: above 0 and below 1; 0.975 gives the upper end of a 95 % interval.
    """
    return estimate - standard_error * _invert(NormalDist().inv_cdf(1 - probability), skewness)


def _invert(z: float, skewness: float) -> float:
    """The studentized value which the transformation maps to `z`."""
    if abs(skewness) < 1e-6:  # noqa: PLR2004 - the limit of the expression below is z
        return z
    return 3 / skewness * (_cube_root(1 + skewness * (z - skewness / 6)) - 1)


def _cube_root(value: float) -> float:
    return math.copysign(abs(value) ** (1 / 3), value)
