"""The intervals of the deadline, beside those of scipy."""

import numpy as np
import pytest
from scipy import stats

from app.canary_analysis import intervals
from app.canary_analysis.intervals import ErrorRates, Shares


@pytest.mark.parametrize(
    ("bad", "total"), [(3, 3500), (17, 3500), (1, 200), (60, 90), (300, 1000), (970, 1000)]
)
@pytest.mark.parametrize("error", [0.001, 0.01, 0.05])
def test_bounds_of_a_share_are_those_of_the_beta_distribution(
    bad: int, total: int, error: float
) -> None:
    z = np.array(stats.norm.isf(error))
    found = intervals.jeffreys_bounds(np.array(float(bad)), np.array(float(total)), z, z)
    exact = stats.beta(bad + 0.5, total - bad + 0.5)
    assert float(found.lower) == pytest.approx(exact.ppf(error), rel=0.1, abs=2e-4)
    assert float(found.upper) == pytest.approx(exact.isf(error), rel=0.02, abs=2e-4)


@pytest.mark.parametrize("error", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("freedom", [5, 20, 700])
def test_quantile_of_students_t(error: float, freedom: int) -> None:
    found = float(intervals.t_quantile(error, np.array(float(freedom))))
    assert found == pytest.approx(stats.t(freedom).isf(error), rel=0.03)


def test_interval_of_a_difference_agrees_with_scipys_for_large_counts() -> None:
    canary = Shares(np.full(100, 30), np.full(100, 1000))
    stables = Shares(np.full(100, 80), np.full(100, 4000))
    none = intervals.DesignEffect(np.array(1.0), np.array(np.inf))
    found = intervals.difference_interval(
        canary, stables, 0.0, (none, none), ErrorRates(0.025, 0.025)
    )
    # The same with multiple 0: the difference of two independent binomial shares.
    error = np.sqrt(0.03 * 0.97 / 1e5 + 0.02 * 0.98 / 4e5)
    low, high = stats.norm.interval(0.95, loc=0.01, scale=error)
    assert (float(found.lower), float(found.upper)) == pytest.approx((low, high), rel=0.01)


def test_independent_requests_have_no_design_effect_and_bursts_have_one() -> None:
    rng = np.random.default_rng(1)
    total = np.full(720, 100)
    even = Shares(rng.binomial(total, 0.01), total)
    in_burst = np.zeros(720)
    in_burst[100:110] = in_burst[400:410] = 0.3
    bursty = Shares(rng.binomial(total, 0.001 + in_burst), total)
    lengths = intervals.block_lengths(720, 10)
    assert intervals.share_design_effect(even, lengths).ratio == 1
    assert intervals.share_design_effect(bursty, lengths).ratio > 50
    # Bursts that hit both cancel in the difference.
    assert intervals.difference_design_effect(bursty, bursty, lengths).ratio == 1


def test_the_design_effect_without_bursts_is_the_index_of_dispersion() -> None:
    rng = np.random.default_rng(2)
    counts = rng.negative_binomial(2, 0.1, 720)
    total = np.full(720, 10_000)
    share = counts.sum() / total.sum()
    dispersion = counts.var(ddof=1) / counts.mean() / (1 - share)
    found = intervals.share_design_effect(Shares(counts, total), [1])
    assert float(found.ratio) == pytest.approx(dispersion, rel=0.01)
