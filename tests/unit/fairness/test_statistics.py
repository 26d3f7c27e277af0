"""Intervals, tests and corrections of the fairness report."""

import numpy as np
import pytest
from scipy import stats

from app.fairness.statistics import (
    GroupComparison,
    bootstrap_means,
    compute_p_values,
    correct_by_permutation,
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


def test_a_group_is_compared_with_all_others_as_by_scipy() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0.3, 1, (80, 2)), rng.normal(0, 2, (200, 2))])
    for side in (slice(80), slice(80, None)):  # of equal variance, where nothing is joined
        values[side] /= values[side].std(axis=0, ddof=1)
    members = np.array([np.arange(280) < 80, np.arange(280) < 1, np.arange(280) >= 80])
    found = GroupComparison(values, members).compare()
    statistics, (low, high) = found.compute_statistics(), found.compute_intervals(0.05)
    for metric in range(2):
        first, second = values[:80, metric], values[80:, metric]
        expected = stats.ttest_ind(first, second, equal_var=False)
        bounds = expected.confidence_interval(0.95)
        assert statistics[[0, 2], metric] == pytest.approx(abs(expected.statistic))
        assert found.value[0, metric] == pytest.approx(first.mean() - second.mean())
        assert (low[0, metric], high[0, metric]) == pytest.approx((bounds.low, bounds.high))
        assert (-high[2, metric], -low[2, metric]) == pytest.approx((bounds.low, bounds.high))
    assert np.isnan(statistics[1]).all(), "one user has no variance"


def test_a_side_varies_no_less_than_both_together() -> None:
    values = np.concatenate([np.zeros(40), np.random.default_rng(8).normal(0, 1, 160)])[:, None]
    found = GroupComparison(values, np.array([np.arange(200) < 40])).compare()
    others = values[40:].var(ddof=1)
    joint = others * 159 / 198
    assert found.error.item() ** 2 == pytest.approx(joint / 40 + others / 160)


def test_a_difference_without_variance_is_certain_and_equal_groups_are_equal() -> None:
    members = np.array([np.arange(18) < 9])
    values = np.column_stack([np.zeros(18), np.repeat([0.3, 0.1], 9), np.full(18, 0.7)])
    found = GroupComparison(values, members).compare()
    assert found.compute_statistics().tolist() == [[0, np.inf, 0]]
    low, high = found.compute_intervals(0.05)
    np.testing.assert_allclose(low, [[0, 0.2, 0]], atol=1e-12)
    np.testing.assert_allclose(high, low)


def test_a_difference_that_follows_from_activity_is_none_within_strata() -> None:
    rng = np.random.default_rng(4)
    strata = rng.integers(0, 3, 3_000)
    group = rng.random(3_000) < np.array([0.1, 0.4, 0.8])[strata]
    values = (0.2 * strata + rng.normal(0, 0.3, 3_000))[:, None]
    plain = GroupComparison(values, group[None]).compare()
    adjusted = GroupComparison(values, group[None], strata).compare()
    assert plain.compute_statistics().item() > 5
    assert adjusted.compute_statistics().item() < 1.96
    shifted = GroupComparison(values + 0.1 * group[:, None], group[None], strata).compare()
    assert shifted.value.item() == pytest.approx(adjusted.value.item() + 0.1)
    assert shifted.compute_statistics().item() > 5


def test_strata_with_one_side_only_are_not_compared() -> None:
    group = np.array([[True] * 5 + [False] * 5])
    values = np.arange(10.0)[:, None]
    found = GroupComparison(values, group, np.repeat([0, 1], 5))
    assert np.isnan(found.compare().compute_statistics()).all()
    assert np.isnan(found.permute(3, np.random.default_rng(1))).all()


def test_permuted_users_differ_by_chance_within_their_stratum() -> None:
    rng = np.random.default_rng(6)
    strata = np.repeat([0, 1], 300)
    group = rng.random((1, 600)) < np.where(strata, 0.9, 0.1)
    # One metric follows the stratum, and the other the group; no permutation may keep that.
    values = np.column_stack([strata + rng.normal(0, 0.1, 600), group[0] + rng.normal(0, 0.1, 600)])
    permuted = GroupComparison(values, group, strata).permute(400, rng)
    assert permuted.shape == (400, 1, 2)
    np.testing.assert_allclose((permuted > 1.645).mean(axis=(0, 1)), 0.1, atol=0.05)


def test_a_correction_by_permutation_counts_the_largest_of_the_remaining_tests() -> None:
    permuted = np.array([[0.5, 2.5], [2.2, 0.1], [0.4, 0.3]])
    # 3: none of three permutations has one as large; 2: of the other test alone, one has.
    assert correct_by_permutation(np.array([2.0, 3.0]), permuted) == pytest.approx([0.5, 0.25])
    # Never below that of a larger statistic.
    assert correct_by_permutation(np.array([2.3, 2.4]), permuted) == pytest.approx([0.5, 0.5])
    assert compute_p_values(np.array([2.3, 2.4]), permuted) == pytest.approx([0.25, 0.5])
    assert correct_by_permutation(np.array([np.inf, 0]), permuted) == pytest.approx([0.25, 1])
    assert correct_by_permutation(np.empty(0), np.empty((3, 0))).size == 0


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_tests() -> None:
    assert correct_holm([0.04, 0.01, 0.5]) == pytest.approx([0.08, 0.03, 0.5])
    assert correct_holm([0.02, 0.019]) == pytest.approx([0.038, 0.038]), "never descending"
    assert correct_holm([]) == []
