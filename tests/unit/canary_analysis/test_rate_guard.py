"""The guard of a share: its likelihoods beside scipy's, and what it must and must not find."""

import numpy as np
import pytest
from scipy import stats

from app.canary_analysis import rate_guard
from app.canary_analysis.rate_guard import LEVELS, Allowance, BurstModel, log_evidence

_BURSTS = BurstModel.for_bursts(10, 0.02)
_ABORT = np.log(1000)


def test_likelihood_ratios_are_those_of_scipy() -> None:
    tables = rate_guard._LikelihoodTables(500)
    bad, total, allowed = np.array(9), np.array(480), np.array(0.002)
    found = tables.log_ratio(bad, total, allowed)
    spread = LEVELS * (1 - LEVELS)
    precision = 1 / (0.4**2 * spread) - 1
    expected = stats.betabinom.logpmf(
        9, 480, LEVELS * precision, (1 - LEVELS) * precision
    ) - stats.binom.logpmf(9, 480, 0.002)
    bad_levels = found != 0
    assert bad_levels.sum() >= len(LEVELS) - 2
    assert found[bad_levels] == pytest.approx(expected[bad_levels], abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.0025])
@pytest.mark.parametrize("total", [6, 480, 4800])
def test_a_minute_within_the_tolerance_has_an_expected_ratio_of_at_most_one(
    share: float, total: int
) -> None:
    tables = rate_guard._LikelihoodTables(total)
    counts = np.arange(total + 1)
    totals, allowed = np.full(total + 1, total), np.full(total + 1, 0.0025)
    ratios = np.exp(np.minimum(tables.log_ratio(counts, totals, allowed), 200))
    expected = stats.binom.pmf(counts, total, share) @ ratios
    assert (expected <= 1 + 1e-6).all()


def test_without_bursts_the_evidence_is_a_mixture_likelihood_ratio() -> None:
    # One minute: half of the second model is bad from the start, at any level alike.
    tables = rate_guard._LikelihoodTables(100)
    bad, total, allowed = np.array([5]), np.array([100]), np.array([0.0025])
    ratios = np.exp(tables.log_ratio(bad, total, allowed))[0]
    rare = BurstModel(1e-12, 1.0)
    found = float(np.exp(log_evidence(bad, total, allowed, rare)[0]))
    # A burst may be in progress when the release starts, with probability 0.1; here it ends.
    start = 0.5 * ratios.mean() + 0.5 * (1 - 1 / 500) + 0.5 / 500 * ratios.mean()
    assert found == pytest.approx(start, rel=0.01)


def test_failures_spread_over_time_are_found_and_one_burst_is_not() -> None:
    rng = np.random.default_rng(3)
    total, allowed = np.full((200, 120), 48), np.full((200, 120), 0.0016)
    spread = log_evidence(rng.binomial(total, 0.009), total, allowed, _BURSTS)
    assert np.median((spread > _ABORT).argmax(-1)) < 60
    burst = np.full(120, 0.001)
    burst[30:40] = 0.3
    once = log_evidence(rng.binomial(total, burst), total, allowed, _BURSTS)
    assert not (once > _ABORT).any()


def test_a_burst_from_the_first_minute_does_not_abort() -> None:
    share = np.full(60, 0.001)
    share[:10] = 0.3
    total = np.full((500, 60), 4800)
    bad = np.random.default_rng(4).binomial(total, share)
    evidence = log_evidence(bad, total, np.full(total.shape, 0.0025), _BURSTS)
    assert (evidence > _ABORT).any(-1).mean() < 0.02


def test_what_all_slots_suffer_is_allowed() -> None:
    bad, total = np.full(60, 10), np.full(60, 19_200)
    bad[30:50] = 5760
    allowed = rate_guard.allowed_share(bad, total, Allowance(0.001, 1.5))
    assert (allowed[30:50] > 0.4).all()
    assert (allowed[:30] < 0.003).all()


def test_evidence_does_not_depend_on_how_many_releases_are_computed_at_once() -> None:
    rng = np.random.default_rng(5)
    total = rng.poisson(50, (3, 4, 90))
    bad = rng.binomial(total, 0.02)
    allowed = np.full(total.shape, 0.004)
    together = log_evidence(bad, total, allowed, _BURSTS)
    alone = log_evidence(bad[1, 2], total[1, 2], allowed[1, 2], _BURSTS)
    assert together[1, 2] == pytest.approx(alone)


def test_large_counts_are_scaled_down() -> None:
    total = np.full(30, 3_000_000)
    evidence = log_evidence(total // 50, total, np.full(30, 0.0025), _BURSTS)
    assert np.isfinite(evidence).all()
    assert evidence[-1] > _ABORT
