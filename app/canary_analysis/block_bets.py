"""Guard by bets: is the mean of blocks of minutes beyond a limit?

Each block bets that its value is above the limit: the wealth is multiplied by
1 + fraction * (value / limit - 1), which is 1 on average, or less, if the mean is within the limit.
So it exceeds 1/error rate at any block with at most that error rate (Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting"). A block is as long as the longest burst,
and counts for no more than a maximum however far out it is, so that one burst does not decide.
"""

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.intervals import block_sums

Floats = NDArray[np.float64]

#: Fractions of the wealth that are bet (a mixture of three strategies).
_FRACTIONS = np.array([0.25, 0.5, 0.9])


def sum_blocks(values: NDArray[np.generic], length: int) -> Floats:
    """Sum complete blocks of `length` minutes, shape (..., minutes) to (..., blocks)."""
    return block_sums(values[..., : values.shape[-1] // length * length], length)


def log_wealth(ratios: Floats, max_ratio: float, minutes: int, length: int) -> Floats:
    """Return the log of the e-process after each minute.

    Args:
        ratios: value of each block divided by its limit, shape (..., blocks); NaN: unknown.
        max_ratio: a block counts for at most this ratio.
        minutes: number of minutes of the result.
        length: minutes of a block.

    Returns:
        Shape (..., minutes); it changes at the end of each block.
    """
    gains = np.where(np.isnan(ratios), 0.0, np.minimum(ratios, max_ratio) - 1)
    wealth = np.log1p(_FRACTIONS * gains[..., None]).cumsum(-2)
    by_block = np.logaddexp.reduce(wealth, axis=-1) - np.log(len(_FRACTIONS))
    evidence = np.zeros((*ratios.shape[:-1], minutes))
    if ratios.shape[-1]:
        last = (np.arange(length - 1, minutes) - length + 1) // length
        evidence[..., length - 1 :] = by_block[..., np.minimum(last, ratios.shape[-1] - 1)]
    return evidence
