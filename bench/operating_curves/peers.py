"""Rules of other tools, written from their documentation, for the same streams.

- Kayenta: per metric a Mann-Whitney test over the minutes with a tolerance of 25 % of the
  estimated shift and a confidence of 98 %; any metric that is High fails the canary.
- Flagger: every minute a success rate of at least 99 % and a 99th percentile of at most 500 ms;
  five failed checks roll back.
- Argo Rollouts: every five minutes a success rate of at least 95 %; more than three failures
  abort.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.checks import first_minute
from app.canary_analysis.latency import quantile_seconds, representative_seconds
from app.canary_analysis.observations import Floats, Observations, SlotCounts

_CONFIDENCE, _TOLERANCE = 0.98, 0.25


def kayenta_aborts(observations: Observations) -> NDArray[np.bool_]:
    """Return whether Kayenta's judge would fail each release at the end of the window."""
    canary, stables = (
        _metrics(side, observations.bounds) for side in (observations.canary, observations.stables)
    )
    return np.array(
        [
            any(mann_whitney_is_high(c[i], s[i]) for c, s in zip(canary, stables, strict=True))
            for i in range(len(canary[0]))
        ]
    )


def _metrics(slots: SlotCounts, bounds: Floats) -> list[Floats]:
    """Failures, client errors (shares) and mean latency of each minute."""
    answered = np.maximum(slots.answered.sum(-2), 1)
    assert slots.buckets is not None
    buckets = slots.buckets.sum(-3)
    seconds = buckets @ representative_seconds(bounds, "linear")
    return [
        slots.failures.sum(-2) / answered,
        slots.client_errors.sum(-2) / answered,
        seconds / np.maximum(buckets.sum(-1), 1),
    ]


def mann_whitney_is_high(experiment: Floats, control: Floats) -> bool:
    """Return whether the confidence interval of the shift lies above the tolerance."""
    m, n = len(experiment), len(control)
    z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
    rank = int(max(m * n / 2 - z * np.sqrt(m * n * (m + n + 1) / 12), 0))
    # The bound and the median, without sorting half a million differences.
    middle = [(m * n - 1) // 2, m * n // 2]
    differences = np.partition(
        (experiment[:, None] - control[None, :]).ravel(), [0, rank, *middle, -1]
    )
    if differences[0] == differences[-1]:
        return bool(differences[0] > 0)
    return bool(differences[rank] > _TOLERANCE * abs(differences[middle].mean()))


def flagger_aborts_at(observations: Observations) -> NDArray[np.int64]:
    """Return the minute of Flagger's rollback, or `NEVER`."""
    canary = observations.canary
    answered = canary.answered[:, 0]
    success = 1 - canary.failures[:, 0] / np.maximum(answered, 1)
    assert canary.buckets is not None
    buckets = canary.buckets[:, 0]
    level = np.full(buckets.shape[:-1], 0.99)
    p99 = quantile_seconds(buckets.astype(float), observations.bounds, level, "linear")
    failed = ((success < 0.99) | (np.nan_to_num(p99) > 0.5)) & (answered > 0)
    return first_minute(failed.cumsum(-1) >= 5)


def argo_aborts_at(observations: Observations) -> NDArray[np.int64]:
    """Return the minute at which Argo Rollouts' analysis fails, or `NEVER`."""
    canary = observations.canary
    end = observations.minutes // 5 * 5
    answered, failures = (
        x[:, 0, :end].reshape(len(x), -1, 5).sum(-1) for x in (canary.answered, canary.failures)
    )
    failed = (failures > 0.05 * answered) & (answered > 0)
    at = first_minute(failed.cumsum(-1) > 3)
    return np.where(at < end, at * 5 + 4, at)
