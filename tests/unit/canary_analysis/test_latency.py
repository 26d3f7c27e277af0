"""Quantiles and means from histograms."""

import numpy as np
import pytest
from scipy import stats

from app.canary_analysis import latency

_BOUNDS = np.array([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25])
_LEVEL = np.array(0.99)


def _histogram(median: float, count: int = 1_000_000) -> latency.Floats:
    distribution = stats.lognorm(0.6, scale=median)
    below = np.concatenate([[0], distribution.cdf(_BOUNDS), [1]])
    return np.round(np.diff(below) * count)


@pytest.mark.parametrize("median", [0.003, 0.012, 0.04])
def test_lognormal_interpolation_is_exact_for_a_lognormal_latency(median: float) -> None:
    found = latency.quantile_seconds(_histogram(median), _BOUNDS, _LEVEL, "lognormal")
    assert float(found) == pytest.approx(stats.lognorm(0.6, scale=median).ppf(0.99), rel=0.02)


def test_linear_interpolation_is_that_of_prometheus() -> None:
    counts = np.array([0.0, 0, 40, 8, 0, 0, 0, 0, 0])
    found = latency.quantile_seconds(counts, _BOUNDS, np.array(0.95), "linear")
    # histogram_quantile: rank 45.6 of 48 in the bucket from 5 to 10 ms, which begins after 40.
    assert float(found) == pytest.approx(0.005 + 0.005 * 5.6 / 8)


@pytest.mark.parametrize("scheme", latency.SCHEMES)
def test_a_quantile_in_the_last_bucket_is_infinite_and_none_is_nan(scheme: latency.Scheme) -> None:
    beyond = np.zeros(9)
    beyond[-1] = 10
    assert latency.quantile_seconds(beyond, _BOUNDS, _LEVEL, scheme) == np.inf
    assert np.isnan(latency.quantile_seconds(np.zeros(9), _BOUNDS, _LEVEL, scheme))


def test_the_limit_is_rounded_up_to_a_bound() -> None:
    counts = np.array([0.0, 0, 100, 0, 0, 0, 0, 0, 0])
    index = latency.slower_bound_index(counts, _BOUNDS, 0.99, (2.0, 0.005))
    assert _BOUNDS[index] == 0.01
    slow = np.array([0.0, 0, 0, 0, 0, 0, 0, 100, 0])
    assert latency.slower_bound_index(slow, _BOUNDS, 0.99, (2.0, 0.005)) == len(_BOUNDS)
