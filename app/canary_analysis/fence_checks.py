"""Outer fence: absolute limits, whatever the stables do."""

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.checks import FAILED, PASSED, UNDECIDED, Check, first_minute
from app.canary_analysis.evidence_checks import repeated, rolling_sum
from app.canary_analysis.intervals import (
    ErrorRates,
    Shares,
    block_lengths,
    share_design_effect,
    share_interval,
)
from app.canary_analysis.latency import quantile_bucket, quantile_seconds, representative_seconds
from app.canary_analysis.limits import Limits
from app.canary_analysis.observations import Floats, Observations
from app.canary_analysis.share_checks import Compared

_LEVEL = 0.99


def fence_share(
    name: str, title: str, compared: Compared, max_share: float, limits: Limits
) -> Check:
    """ABORT if a share is certainly above an absolute limit; no PROMOTE while it is above it."""
    canary = compared.canary
    effect = share_design_effect(
        canary, block_lengths(canary.bad.shape[-1], limits.max_burst_minutes)
    )
    errors = ErrorRates(limits.abort_error_rate, limits.promote_error_rate)
    interval = share_interval(canary, effect, errors)
    outcome = np.where(
        interval.lower > max_share, FAILED, np.where(interval.value <= max_share, PASSED, UNDECIDED)
    )
    return Check(
        name=name,
        title=title,
        kind="fence",
        outcome=outcome,
        value=interval.value,
        lower=interval.lower,
        upper=interval.upper,
        limit=np.full(interval.value.shape, max_share),
        limit_text=f"at most {max_share:.2%}",
    )


def fence_mean(observations: Observations, limits: Limits) -> Check:
    """The seed's check: mean latency of successful responses in the window below the limit."""
    low, value = (_mean_seconds(observations, scheme) for scheme in ("lowest", "linear"))
    limit = limits.max_mean_seconds
    known = np.isfinite(value)
    outcome = np.where(low >= limit, FAILED, np.where(value < limit, PASSED, UNDECIDED))
    return Check(
        name="mean_seconds",
        title="mean latency",
        unit="seconds",
        kind="fence",
        outcome=np.where(known, outcome, UNDECIDED),
        value=value,
        limit=np.full(value.shape, limit),
        limit_text=f"below {limit * 1000:g} ms",
    )


def _mean_seconds(observations: Observations, scheme: str) -> Floats:
    canary = observations.canary
    assert canary.buckets is not None  # noqa: S101 - checked by the caller
    counts = canary.buckets.sum((-2, -3))
    if canary.seconds is not None:
        seconds = canary.seconds.sum((-1, -2))
    else:
        seconds = counts @ representative_seconds(observations.bounds, scheme)  # type: ignore[arg-type]
    total = counts.sum(-1)
    return np.where(total > 0, seconds / np.maximum(total, 1), np.nan)


def fence_p99(observations: Observations, limits: Limits) -> Check:
    """99th percentile of the latency of successful responses."""
    assert observations.canary.buckets is not None  # noqa: S101 - checked by the caller
    counts = observations.canary.buckets.sum((-2, -3))
    level = np.full(counts.shape[:-1], _LEVEL)
    value = quantile_seconds(counts, observations.bounds, level, "linear")
    edges = np.concatenate([[0.0], observations.bounds])
    low = edges[quantile_bucket(counts, _LEVEL)]
    limit = limits.max_p99_seconds
    known = counts.sum(-1) > 0
    outcome = np.where(value <= limit, PASSED, np.where(low >= limit, FAILED, UNDECIDED))
    # A few slow minutes may move the percentile beyond the limit: see the share of time-outs.
    outcome = np.where((outcome == FAILED) & ~_certainly_slow(observations, limits), 1, outcome)
    return Check(
        name="p99_seconds",
        title="99th percentile of the latency",
        unit="seconds",
        kind="fence",
        outcome=np.where(known, outcome, UNDECIDED),
        value=value,
        limit=np.full(value.shape, limit),
        limit_text=f"at most {limit * 1000:g} ms",
    )


def _certainly_slow(observations: Observations, limits: Limits) -> NDArray[np.bool_]:
    """Whether certainly more than 1 % of the responses are slower than the limit."""
    assert observations.canary.buckets is not None  # noqa: S101 - checked by the caller
    bound = int(np.searchsorted(observations.bounds, limits.max_p99_seconds * (1 - 1e-9)))
    buckets = observations.canary.buckets[..., 0, :, :]
    shares = Shares(buckets[..., bound + 1 :].sum(-1), buckets.sum(-1))
    effect = share_design_effect(
        shares, block_lengths(observations.minutes, limits.max_burst_minutes)
    )
    errors = ErrorRates(limits.abort_error_rate, limits.abort_error_rate)
    result: NDArray[np.bool_] = share_interval(shares, effect, errors).lower > 1 - _LEVEL
    return result


def guard_share(
    name: str, title: str, compared: Compared, max_share: float, limits: Limits
) -> Check:
    """Guard: abort if a share of the last minutes exceeds an absolute limit, repeatedly.

    Not if the stables exceed it too: then the canary is not the cause.
    """
    ratios = []
    for shares in (compared.canary, compared.together):
        bad, total = (rolling_sum(counts, limits.guard_window) for counts in shares)
        ratios.append((bad / np.maximum(total, 1), total))
    (canary, requests), (stables, _) = ratios
    failed = (canary > max_share) & (requests >= limits.guard_min_requests)
    failed &= (stables <= max_share) & _in_most_minutes(
        compared.canary.bad > max_share * compared.canary.total, limits
    )
    return Check(
        name=name,
        title=title,
        kind="guard",
        outcome=np.where(failed[..., -1], FAILED, PASSED),
        value=canary[..., -1],
        reference=stables[..., -1],
        limit=np.full(canary.shape[:-1], max_share),
        limit_text=f"at most {max_share:.0%}",
        aborted_at=first_minute(repeated(failed, limits.guard_min_failures)),
    )


def _in_most_minutes(beyond: NDArray[np.bool_], limits: Limits) -> NDArray[np.bool_]:
    """Whether most of the last minutes are beyond a limit: one minute far out is not enough."""
    return 2 * rolling_sum(beyond.astype(np.int64), limits.guard_window) > limits.guard_window


def guard_mean(observations: Observations, limits: Limits) -> Check:
    """Guard: abort if the mean latency of the last minutes exceeds a limit, repeatedly."""
    values = []
    limit = limits.guard_max_mean_seconds
    for slots in (observations.stables, observations.canary):
        assert slots.buckets is not None  # noqa: S101 - checked by the caller
        buckets = slots.buckets.sum(-3)
        lowest = representative_seconds(observations.bounds, "lowest")
        seconds = buckets @ lowest if slots.seconds is None else slots.seconds.sum(-2)
        slow = seconds > limit * buckets.sum(-1)
        total = rolling_sum(buckets.sum(-1), limits.guard_window)
        values.append((rolling_sum(seconds, limits.guard_window) / np.maximum(total, 1), total))
    (stables, _), (canary, requests) = values
    failed = (canary >= limit) & (requests >= limits.guard_min_requests) & (stables < limit)
    failed &= _in_most_minutes(slow, limits)
    return Check(
        name="guard_mean_seconds",
        title="mean latency in the last minutes",
        unit="seconds",
        kind="guard",
        outcome=np.where(failed[..., -1], FAILED, PASSED),
        value=canary[..., -1],
        reference=stables[..., -1],
        limit=np.full(canary.shape[:-1], limit),
        limit_text=f"below {limit * 1000:g} ms",
        aborted_at=first_minute(repeated(failed, limits.guard_min_failures)),
    )
