"""Comparison of mean and 99th percentile of the latency of successful responses."""

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.block_bets import log_wealth, sum_blocks
from app.canary_analysis.checks import (
    FAILED,
    PASSED,
    UNDECIDED,
    Check,
    first_minute,
    requests_needed,
)
from app.canary_analysis.intervals import (
    ErrorRates,
    Shares,
    block_lengths,
    block_sums,
    share_design_effect,
    share_interval,
    t_quantile,
)
from app.canary_analysis.latency import (
    SCHEMES,
    quantile_bucket,
    quantile_seconds,
    representative_seconds,
    slower_bound_index,
)
from app.canary_analysis.limits import Limits
from app.canary_analysis.observations import Floats, Observations, SlotCounts
from app.canary_analysis.rate_guard import Allowance, allowed_share
from app.canary_analysis.share_checks import Compared, GuardInput, design_effects, error_rates

_LEVEL = 0.99
#: Responses of the stables from which their percentile is known well enough for a guard.
_MIN_RESPONSES = 100
#: How many times its limit a block of minutes counts for at most, in the bets on the mean and on
#: the share of slow responses. The first is low: a few responses may put a mean far out.
_MAX_MEAN_RATIO, _MAX_SLOW_RATIO = 2.0, 10.0


def compare_p99(observations: Observations, evidence: Floats, limits: Limits) -> Check:
    """Compare the 99th percentiles: is it beyond both the ratio and the difference in seconds?

    Beyond the limit means that more than 1 % of the canary's responses are slower than it. Both
    for the guard and for ABORT the limit is rounded up to a bound of the buckets, so that the
    count is exact.
    """
    canary, stables = _totals(observations)
    bounds, allowed = (
        observations.bounds,
        (limits.max_latency_ratio, limits.max_latency_increase_seconds),
    )
    requests = canary.sum((-1, -2)).astype(float)
    errors = error_rates(requests, limits)
    index = slower_bound_index(stables.sum(-2), bounds, _LEVEL, allowed)
    beyond = _select_beyond(observations, index[..., None])
    lengths = block_lengths(observations.minutes, limits.max_burst_minutes)
    effect = design_effects(beyond, limits)[0].max(share_design_effect(beyond.canary, lengths))
    slower = share_interval(beyond.canary, effect, errors)
    tail = _tail_interval(observations, errors.upper, limits)
    counts = canary.sum(-2)
    level_low, level_high = 1 - tail[0].upper, 1 - tail[0].lower
    passed = np.ones(index.shape, dtype=bool)
    for scheme in SCHEMES:
        reference = quantile_seconds(stables.sum(-2), bounds, 1 - tail[1].upper, scheme)
        limit = np.maximum(allowed[0] * reference, reference + allowed[1])
        passed &= quantile_seconds(counts, bounds, level_high, scheme) < limit
    known = (counts.sum(-1) > 0) & (stables.sum((-1, -2)) > 0)
    outcome = np.where(slower.lower > 1 - _LEVEL, FAILED, np.where(passed, PASSED, UNDECIDED))
    level = np.full(index.shape, _LEVEL)
    value = quantile_seconds(counts, bounds, level, "linear")
    reference = quantile_seconds(stables.sum(-2), bounds, level, "linear")
    interval = (
        quantile_seconds(counts, bounds, level_low, "linear"),
        quantile_seconds(counts, bounds, level_high, "linear"),
    )
    limit = np.maximum(allowed[0] * reference, reference + allowed[1])
    return Check(
        name="p99",
        title="99th percentile of the latency",
        unit="seconds",
        outcome=np.where(known, outcome, UNDECIDED),
        value=value,
        reference=reference,
        lower=interval[0],
        upper=interval[1],
        limit=limit,
        needed=requests_needed(requests, value, interval, limit),
        aborted_at=first_minute(evidence > np.log(1 / limits.guard_error_rate)),
        evidence=evidence[..., -1],
    )


def _totals(observations: Observations) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Buckets of the canary and of all stables together, shape (..., minutes, buckets)."""
    canary, stables = observations.canary.buckets, observations.stables.buckets
    assert canary is not None and stables is not None  # noqa: S101 - checked by the caller
    return canary[..., 0, :, :], stables.sum(-3)


def _select_beyond(observations: Observations, index: NDArray[np.int64]) -> Compared:
    """Count responses slower than a bound, whose index has shape (..., minutes)."""
    canary, stables = observations.canary.buckets, observations.stables.buckets
    assert canary is not None and stables is not None  # noqa: S101 - checked by the caller

    def count(buckets: NDArray[np.int64]) -> Shares:
        faster = buckets.cumsum(-1)
        where = np.broadcast_to(index[..., None, :], buckets.shape[:-1])[..., None]
        return Shares(
            faster[..., -1] - np.take_along_axis(faster, where, -1)[..., 0], faster[..., -1]
        )

    one = count(canary)
    return Compared(Shares(one.bad[..., 0, :], one.total[..., 0, :]), count(stables))


def _tail_interval(observations: Observations, error: Floats | float, limits: Limits) -> tuple:  # type: ignore[type-arg]
    """Intervals of the share of 1 % beyond the quantile, of the canary and of the stables."""
    _, stables = _totals(observations)
    index = np.maximum(quantile_bucket(stables.sum(-2), _LEVEL) - 1, 0)
    lengths = block_lengths(observations.minutes, limits.max_burst_minutes)
    compared = _select_beyond(observations, index[..., None])
    effect = design_effects(compared, limits)[0]
    errors = ErrorRates(error, error)
    intervals = []
    for shares in (compared.canary, compared.together):
        own = effect.max(share_design_effect(shares, lengths))
        tail = Shares(
            np.expand_dims((1 - _LEVEL) * shares.total.sum(-1), -1),
            np.expand_dims(shares.total.sum(-1).astype(float), -1),
        )
        intervals.append(share_interval(tail, own, errors))
    return tuple(intervals)


def p99_guard_input(observations: Observations, limits: Limits) -> GuardInput:
    """Return what the guard compares; the limit follows the stables' percentile so far."""
    _, stables = _totals(observations)
    allowed = (limits.max_latency_ratio, limits.max_latency_increase_seconds)
    index = slower_bound_index(stables.cumsum(-2), observations.bounds, _LEVEL, allowed)
    beyond = _select_beyond(observations, index)
    together = beyond.together
    share = allowed_share(
        together.bad, together.total, Allowance(0.0, 1 + limits.failure_tolerance_ratio)
    )
    share = np.maximum(share, 1 - _LEVEL)
    # Before the stables have a histogram, anything is allowed.
    share = np.where(together.total.cumsum(-1) >= _MIN_RESPONSES, share, 1.0)
    return GuardInput(*beyond.canary, share)


def add_slow_blocks(evidence: Floats, slow: GuardInput, limits: Limits) -> Floats:
    """Add the evidence of bets on the share of slow responses to that of the p99's guard.

    The guard takes a slow minute for a burst, as long as bursts are no more frequent than assumed.
    The bets count how many blocks of minutes have too many slow responses: they find a canary that
    is slow in one minute of twenty. The mean of two e-processes is one.
    """
    length = limits.max_burst_minutes
    bad, total, allowed = (
        sum_blocks(x, length) for x in (slow.bad, slow.total, slow.total * slow.allowed)
    )
    ratios = np.where(total > 0, bad / np.maximum(allowed, 1e-9), np.nan)
    bets = log_wealth(ratios, _MAX_SLOW_RATIO, slow.total.shape[-1], length)
    result: Floats = np.logaddexp(evidence, bets) - np.log(2)
    return result


# -- mean -----------------------------------------------------------------------------------------


def compare_mean(observations: Observations, limits: Limits) -> Check:
    """Compare the means: is the canary's beyond both the ratio and the difference in seconds?

    With sums of latencies the means are exact; from buckets ABORT takes the lowest latencies of the
    canary and the highest of the stables, PROMOTE every way to interpolate.
    """
    exact = observations.canary.seconds is not None and observations.stables.seconds is not None
    ratio, increase = limits.max_latency_ratio, limits.max_latency_increase_seconds
    canary_low = _Means(observations.canary, observations.bounds, "lowest" if not exact else None)
    errors = error_rates(canary_low.total.astype(float), limits)
    stables_high = _Means(
        observations.stables, observations.bounds, "highest" if not exact else None
    )
    failed = np.ones(canary_low.mean.shape, dtype=bool)
    for multiple, constant in ((ratio, 0.0), (1.0, increase)):
        lower, _ = _contrast(canary_low, stables_high, multiple, limits, errors)
        failed &= lower > constant
    passed = np.ones(canary_low.mean.shape, dtype=bool)
    for scheme in (None,) if exact else SCHEMES[:2]:
        canary = _Means(observations.canary, observations.bounds, scheme)
        stables = _Means(observations.stables, observations.bounds, scheme)
        below = np.zeros(passed.shape, dtype=bool)
        for multiple, constant in ((ratio, 0.0), (1.0, increase)):
            below |= _contrast(canary, stables, multiple, limits, errors)[1] < constant
        passed &= below
    scheme = None if exact else "linear"
    canary = _Means(observations.canary, observations.bounds, scheme)
    stables = _Means(observations.stables, observations.bounds, scheme)
    lower, upper = _contrast(canary, stables, 1.0, limits, errors)
    known = (canary.total > 0) & (stables.total > 0)
    outcome = np.where(failed, FAILED, np.where(passed, PASSED, UNDECIDED))
    evidence = _mean_evidence(canary_low, stables_high, limits)
    limit = np.maximum((ratio - 1) * stables.mean, increase)
    difference = canary.mean - stables.mean
    return Check(
        name="mean",
        title="mean latency",
        unit="seconds",
        outcome=np.where(known, outcome, UNDECIDED),
        value=canary.mean,
        reference=stables.mean,
        difference=True,
        lower=lower,
        upper=upper,
        limit=limit,
        needed=requests_needed(canary.total.astype(float), difference, (lower, upper), limit),
        aborted_at=first_minute(evidence > np.log(1 / limits.guard_error_rate)),
        evidence=evidence[..., -1],
    )


class _Means:
    """Sums of latencies and numbers of successful responses per minute, and the mean."""

    def __init__(self, slots: SlotCounts, bounds: Floats, scheme: str | None) -> None:
        assert slots.buckets is not None  # noqa: S101 - checked by the caller
        buckets = slots.buckets.sum(-3)
        self.counts = buckets.sum(-1)
        if scheme is None:
            assert slots.seconds is not None  # noqa: S101 - checked by the caller
            self.seconds = slots.seconds.sum(-2)
        else:
            self.seconds = buckets @ representative_seconds(bounds, scheme)  # type: ignore[arg-type]
        self.total = self.counts.sum(-1)
        self.mean = self.seconds.sum(-1) / np.maximum(self.total, 1)


def _contrast(
    canary: _Means, stables: _Means, multiple: float, limits: Limits, errors: ErrorRates
) -> tuple[Floats, Floats]:
    """Bounds of canary's mean - multiple * stables' mean, from the variance between blocks."""
    value = canary.mean - multiple * stables.mean
    residuals = _residuals(canary) - multiple * _residuals(stables)
    below, above = np.zeros(value.shape), np.zeros(value.shape)
    for length in block_lengths(residuals.shape[-1], limits.max_burst_minutes):
        sums = block_sums(residuals, length)
        freedom = sums.shape[-1] - 1
        if freedom < 1:
            below, above = np.full(value.shape, np.inf), np.full(value.shape, np.inf)
            break
        error = np.sqrt((sums**2).sum(-1) * (freedom + 1) / freedom)
        below = np.maximum(below, error * t_quantile(errors[0], np.array(freedom)))
        above = np.maximum(above, error * t_quantile(errors[1], np.array(freedom)))
    return value - below, value + above


def _residuals(means: _Means) -> Floats:
    residuals = means.seconds - means.mean[..., None] * means.counts
    result: Floats = residuals / np.maximum(means.total, 1)[..., None]
    return result


def _mean_evidence(canary: _Means, stables: _Means, limits: Limits) -> Floats:
    """Return the log evidence after each minute that the canary's mean is beyond its limit."""
    length = limits.max_burst_minutes
    seconds, counts = (sum_blocks(x, length) for x in (canary.seconds, canary.counts))
    s_seconds, s_counts = (sum_blocks(x, length) for x in (stables.seconds, stables.counts))
    so_far = s_seconds.cumsum(-1) / np.maximum(s_counts.cumsum(-1), 1)
    reference = np.maximum(so_far, s_seconds / np.maximum(s_counts, 1))
    limit = np.maximum(
        limits.max_latency_ratio * reference, reference + limits.max_latency_increase_seconds
    )
    known = (counts > 0) & (s_counts.cumsum(-1) > 0)
    ratios = np.where(known, seconds / np.maximum(counts, 1) / limit, np.nan)
    return log_wealth(ratios, _MAX_MEAN_RATIO, canary.counts.shape[-1], length)
