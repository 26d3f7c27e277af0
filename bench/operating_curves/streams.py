"""Simulated releases: counts per minute of a canary and two stables, many releases at once."""

from dataclasses import dataclass
from math import erf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.observations import Counts, Floats, Observations, SlotCounts

BOUNDS = np.array(
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 1.0, 2.5]
)
#: The canary, and two stables: shares of the traffic.
_SHARES = np.array([0.2, 0.4, 0.4])
_SCRAPES = 12


@dataclass(frozen=True)
class Stream:
    """One kind of release. Shares are numbers from 0 to 1; `canary_...` replaces it for the canary.

    Attributes:
        rate: requests per second of all slots.
        minutes: length of the window.
        traffic: `steady`, `daily` (a factor of four between night and evening) or `bursty` (five
            times the traffic in 5 % of the minutes).
        requests: canary requests in the whole window instead of `rate`; the stables get four times
            as many.
        failures: share of 5xx outside of bursts.
        client_errors: share of 4xx.
        popular: share of popular recommendations.
        unanswered: share of requests that kill their worker.
        median_ms: median latency; it is lognormal with a standard deviation of 0.6.
        slower: factor of the canary's latency.
        tail: share of the canary's requests that are `tail_factor` times as slow.
        slow_minutes: share of the canary's minutes that are `slow_factor` times as slow.
        cold_minutes: minutes at the start in which the canary is five times as slow and returns
            30 points more popular recommendations.
        burst_minutes: length of bursts of failures; 0: none.
        burst_failures: share of requests that fail in a burst.
        burst_share: share of a slot's minutes within bursts.
        bursts_together: whether bursts hit all slots at the same time.
        missing: share of a slot's minutes without a scrape; the next has their counts.
        restarts: restarts of the canary, each with a part of a minute unseen.
    """

    rate: float = 4.0
    minutes: int = 720
    traffic: str = "steady"
    requests: int = 0
    failures: float = 0.001
    canary_failures: float | None = None
    client_errors: float = 0.001
    canary_client_errors: float | None = None
    popular: float = 0.3
    canary_popular: float | None = None
    unanswered: float = 0.0
    canary_unanswered: float | None = None
    median_ms: float = 3.0
    slower: float = 1.0
    tail: float = 0.0
    tail_factor: float = 1.0
    slow_minutes: float = 0.0
    slow_factor: float = 1.0
    cold_minutes: int = 0
    burst_minutes: int = 0
    burst_failures: float = 0.0
    burst_share: float = 0.02
    bursts_together: bool = False
    missing: float = 0.0
    restarts: int = 0


def simulate(stream: Stream, releases: int, rng: np.random.Generator) -> Observations:
    """Simulate releases; the arrays have shape (releases, slots, minutes).

    Args:
        stream: kind of release.
        releases: number of releases.
        rng: source of randomness.
    """
    started = _simulate_traffic(stream, releases, rng)
    died = rng.binomial(started, _by_slot(stream.unanswered, stream.canary_unanswered))
    answered = started - died
    client_errors = rng.binomial(
        answered, _by_slot(stream.client_errors, stream.canary_client_errors)
    )
    failing = 1 - (1 - _by_slot(stream.failures, stream.canary_failures)) * (
        1 - _simulate_bursts(stream, releases, rng)
    )
    failures = rng.binomial(answered - client_errors, failing)
    successful = answered - client_errors - failures
    popular = rng.binomial(successful, _popular_share(stream))
    buckets = _simulate_latency(stream, successful, rng)
    counts = [answered, failures, client_errors, started, popular, successful]
    reached = np.full(answered.shape, _SCRAPES)
    if stream.restarts:
        _restart(stream, [*counts, buckets], reached, rng)
    if stream.missing:
        present = rng.random(answered.shape) >= stream.missing
        reached *= present
        counts = [_carry_over(values, present) for values in counts]
        buckets = np.stack(
            [_carry_over(buckets[..., k], present) for k in range(buckets.shape[-1])], axis=-1
        )
    names = ("answered", "failures", "client_errors", "started", "popular", "recommended")
    arrays = dict(zip(names, counts, strict=True)) | {"buckets": buckets, "reached": reached}
    arrays["scrapes"] = reached
    return Observations(
        SlotCounts(**{name: values[:, :1] for name, values in arrays.items()}),
        SlotCounts(**{name: values[:, 1:] for name, values in arrays.items()}),
        BOUNDS,
        _SCRAPES,
    )


def _by_slot(stables: float, canary: float | None) -> Floats:
    return np.array([stables if canary is None else canary, stables, stables])[:, None]


def _simulate_traffic(stream: Stream, releases: int, rng: np.random.Generator) -> Counts:
    """Requests begun, shape (releases, slots, minutes)."""
    minutes = np.arange(stream.minutes)
    weight = np.ones((releases, stream.minutes))
    if stream.traffic == "daily":
        start = rng.random((releases, 1)) * 2 * np.pi
        weight = 1 + 0.6 * np.sin(start + 2 * np.pi * minutes / 1440)
    elif stream.traffic == "bursty":
        weight = np.where(rng.random(weight.shape) < 0.05, 5.0, 1.0)
    if stream.requests:
        weight = weight / weight.sum(-1, keepdims=True)
        totals = (stream.requests * _SHARES / _SHARES[0]).astype(np.int64)
        return rng.multinomial(np.broadcast_to(totals, (releases, 3)), weight[:, None, :])
    mean = stream.rate * 60 * _SHARES[:, None] * weight[:, None, :]
    return rng.poisson(mean)


def _simulate_bursts(stream: Stream, releases: int, rng: np.random.Generator) -> Floats:
    """Share of requests that fail because of bursts, shape (releases, slots, minutes)."""
    length = stream.burst_minutes
    if length == 0:
        return np.zeros((1, 1, 1))
    slots = 1 if stream.bursts_together else 3
    begins = rng.random((releases, slots, stream.minutes + length - 1))
    count = (begins < stream.burst_share / length).cumsum(-1)
    active = count.copy()
    active[..., length:] -= count[..., :-length]
    return np.where(active[..., length - 1 :] > 0, stream.burst_failures, 0.0)


def _popular_share(stream: Stream) -> Floats:
    shares = np.broadcast_to(
        _by_slot(stream.popular, stream.canary_popular), (3, stream.minutes)
    ).copy()
    shares[0, : stream.cold_minutes] += 0.3
    return shares


def _simulate_latency(stream: Stream, counts: Counts, rng: np.random.Generator) -> Counts:
    """Successful responses by bucket, shape (releases, slots, minutes, buckets)."""
    result = np.empty((*counts.shape, len(BOUNDS) + 1), dtype=np.int64)
    result[:, 1:] = rng.multinomial(counts[:, 1:], _bucket_shares(stream.median_ms))
    canary = counts[:, 0]
    usual = _bucket_shares(stream.median_ms * stream.slower)
    if stream.tail:
        slow = _bucket_shares(stream.median_ms * stream.slower * stream.tail_factor)
        usual = (1 - stream.tail) * usual + stream.tail * slow
    shares = np.broadcast_to(usual, (*canary.shape, len(usual))).copy()
    if stream.slow_minutes:
        slow_at = rng.random(canary.shape) < stream.slow_minutes
        shares[slow_at] = _bucket_shares(stream.median_ms * stream.slow_factor)
    shares[:, : stream.cold_minutes] = _bucket_shares(stream.median_ms * 5)
    result[:, 0] = rng.multinomial(canary, shares)
    return result


def _bucket_shares(median_ms: float) -> Floats:
    """Share of a lognormal latency in each bucket."""
    logs = [(log(bound * 1000) - log(median_ms)) / 0.6 for bound in BOUNDS]
    below = [0.0, *(0.5 * (1 + erf(value / sqrt(2))) for value in logs), 1.0]
    return np.diff(below)


def _restart(
    stream: Stream, arrays: list[Counts], reached: Counts, rng: np.random.Generator
) -> None:
    """Lose a part of the canary's counts in some minutes."""
    releases = np.arange(len(reached))
    for _ in range(stream.restarts):
        minute = rng.integers(0, stream.minutes, len(reached))
        seen = rng.random(len(reached))
        reached[releases, 0, minute] = (_SCRAPES * seen).astype(np.int64)
        for values in arrays:
            part = values[releases, 0, minute]
            factor = seen if part.ndim == 1 else seen[:, None]
            values[releases, 0, minute] = (part * factor).astype(np.int64)


def _carry_over(counts: Counts, present: NDArray[np.bool_]) -> Counts:
    """Move the counts of minutes without a scrape to the next minute with one."""
    total = counts.cumsum(-1)
    seen = np.maximum.accumulate(np.where(present, total, 0), axis=-1)
    return np.diff(seen, axis=-1, prepend=0)
