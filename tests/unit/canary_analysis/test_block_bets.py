"""Bets on blocks of minutes: the expected wealth, exactly, and when it grows."""

from itertools import product

import numpy as np
import pytest

from app.canary_analysis.block_bets import log_wealth, sum_blocks


@pytest.mark.parametrize(("max_ratio", "expected"), [(10.0, 1.0), (2.0, 0.5)])
def test_the_expected_wealth_of_a_mean_at_the_limit_is_at_most_one(
    max_ratio: float, expected: float
) -> None:
    # A block is at four times the limit with probability 1/4, otherwise at 0.
    blocks = np.array(list(product([0.0, 4.0], repeat=4)))
    probability = np.prod(np.where(blocks > 0, 0.25, 0.75), axis=-1)
    wealth = np.exp(log_wealth(blocks, max_ratio, 4, 1))
    means = probability @ wealth
    assert (means <= 1 + 1e-9).all()
    assert means[-1] == pytest.approx(1.0) if expected == 1.0 else means[-1] < expected


def test_evidence_changes_at_the_end_of_a_block_and_not_after_the_last_one() -> None:
    evidence = log_wealth(np.array([2.0, np.nan]), 10.0, 7, 3)
    assert evidence[:2].tolist() == [0.0, 0.0]
    assert evidence[2] > 0
    assert set(evidence[2:].tolist()) == {evidence[2]}


def test_a_window_shorter_than_a_block_has_no_evidence() -> None:
    ratios = sum_blocks(np.ones(5), 10)
    assert ratios.size == 0
    assert log_wealth(ratios, 10.0, 5, 10).tolist() == [0.0] * 5
