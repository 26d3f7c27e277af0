"""Error of the verdict at the margin, summed over all counts of failures."""

import numpy as np
import pytest
from scipy.stats import binom

from app.canary_analysis.checks import PASSED
from app.canary_analysis.intervals import Shares
from app.canary_analysis.limits import Limits
from app.canary_analysis.share_checks import Compared, Comparison, compare_shares, failure_bounds


def promotion_probabilities(
    requests: int, stables: float, canaries: tuple[float, ...]
) -> list[float]:
    """Return how likely the check passes for each share of the canary's failures."""
    canary, others = np.arange(250)[:, None], np.arange(250)[None, :]
    bad = np.broadcast_arrays(canary[..., None], others[..., None])
    of_canary = Shares(bad[0], np.full(bad[0].shape, requests))
    of_stables = Shares(bad[1][..., None, :], np.full(bad[1][..., None, :].shape, 4 * requests))
    limits = Limits()
    comparison = Comparison("x", "x", Compared(of_canary, of_stables), failure_bounds(limits))
    check = compare_shares(comparison, np.zeros(bad[0].shape), limits)
    assert check.outcome is not None
    passed = (check.outcome == PASSED).astype(float)
    weights = binom.pmf(np.arange(250), 4 * requests, stables)
    return [
        float(binom.pmf(np.arange(250), requests, canary) @ passed @ weights) for canary in canaries
    ]


def test_the_least_requests_promote_a_healthy_canary_and_not_one_at_the_margin() -> None:
    healthy, margin = promotion_probabilities(3500, 0.001, (0.001, 0.005))
    assert healthy >= 0.97
    assert margin <= 0.01


@pytest.mark.parametrize("stables", [0.0, 0.001])
def test_with_more_requests_the_error_at_the_margin_is_little_more_than_half(
    stables: float,
) -> None:
    healthy, margin = promotion_probabilities(14_000, stables, (stables, 0.003 + 2 * stables))
    assert healthy >= 0.999
    assert margin <= 0.006
