"""Intervals, tests and corrections of the fairness report."""

import numpy as np
import pytest
from scipy import stats

from app.fairness.statistics import (
    bootstrap_means,
    compare_means,
    compare_within_strata,
    correct_holm,
    interval,
)


def test_bootstrap_means_resample_users_with_all_their_metrics() -> None:
    values = np.random.default_rng(1).normal(size=(400, 1)) @ np.array([[1.0, 2.0]])
    samples = bootstrap_means(values, 2_000, np.random.default_rng(2))
    assert samples.shape == (2_000, 2)
    np.testing.assert_allclose(samples[:, 1], 2 * samples[:, 0])
    error = values.std(axis=0) / np.sqrt(400)
    np.testing.assert_allclose(samples.std(axis=0), error, rtol=0.1)
    low, high = interval(samples[:, 0], 0.05)
    mean = values[:, 0].mean()
    assert low == pytest.approx(mean - 1.96 * error[0], abs=0.01)
    assert high == pytest.approx(mean + 1.96 * error[0], abs=0.01)


def test_an_interval_of_nothing_finite_is_not_a_number() -> None:
    assert np.isnan(interval(np.array([np.nan, np.inf]), 0.05)).all()


def test_two_means_are_compared_as_by_scipy() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.3, 1, 80), rng.normal(0, 2, 200)
    found = compare_means(first, second, 0.05)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found is not None
    assert found.p_value == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert compare_means(first[:1], second, 0.05) is None
    assert compare_means(np.zeros(9), np.zeros(9), 0.05) == (0, 0, 0, 1)


def test_a_difference_that_follows_from_activity_is_none_within_strata() -> None:
    rng = np.random.default_rng(4)
    strata = rng.integers(0, 3, 3_000)
    group = rng.random(3_000) < np.array([0.1, 0.4, 0.8])[strata]
    values = 0.2 * strata + rng.normal(0, 0.3, 3_000)
    plain = compare_means(values[group], values[~group], 0.05)
    adjusted = compare_within_strata(values, group, strata, 0.05)
    assert plain is not None
    assert adjusted is not None
    assert plain.p_value < 1e-6
    assert adjusted.p_value > 0.05
    shifted = compare_within_strata(values + 0.1 * group, group, strata, 0.05)
    assert shifted is not None
    assert shifted.value == pytest.approx(adjusted.value + 0.1)
    assert shifted.p_value < 1e-6


def test_strata_with_one_side_only_are_not_compared() -> None:
    group = np.array([True] * 5 + [False] * 5)
    assert compare_within_strata(np.arange(10.0), group, np.repeat([0, 1], 5), 0.05) is None


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_tests() -> None:
    assert correct_holm([0.04, 0.01, 0.5]) == pytest.approx([0.08, 0.03, 0.5])
    assert correct_holm([0.02, 0.019]) == pytest.approx([0.038, 0.038]), "never descending"
    assert correct_holm([]) == []
