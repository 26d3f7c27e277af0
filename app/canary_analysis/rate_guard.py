"""Guard of a share (failures, client errors, slow responses): an e-process that allows for bursts.

Two models of the canary's minutes are compared by their likelihoods, given the stables' minutes:

- acceptable: each minute's share is at most what the tolerance allows, except in bursts. A burst
  begins with probability `max_bursts_per_minute`, has any of the levels below, and ends with a
  probability that makes one longer than `max_burst_minutes` rare.
- bad: from the start, or from some minute on, the share stays at levels above what is allowed.

The ratio is a nonnegative supermartingale under the first model (for a smaller share too, because
each minute's ratio increases with the number of failures), so it exceeds 1/error rate at any minute
with at most that error rate (Ville's inequality; Ramdas, Gruenwald, Vovk and Shafer 2023,
"Game-theoretic statistics and safe anytime-valid inference"). The models are hidden Markov models,
whose likelihood the forward algorithm computes (Rabiner 1989); switching between levels follows
Herbster and Warmuth 1998, "Tracking the best expert". A minute at a level is beta-binomial: the
share of a bad minute varies.

All functions take arrays with any number of leading axes (one release, or many simulated ones).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Levels of a bad share, equally spaced in log odds from 0.2 % to 98 %.
_LEVEL_LOG_ODDS: Floats = np.arange(-6.2, 4.0, 0.7)
LEVELS: Floats = 1 / (1 + np.exp(-_LEVEL_LOG_ODDS))
#: Standard deviation of a minute's log odds around its level: neighbouring levels overlap.
_LEVEL_SPREAD = 0.4
#: A level counts as bad if its log odds are this much above those of the allowed share.
_MIN_LEVEL_DISTANCE = 0.35
#: Prior probability that a canary is bad from the start; otherwise it becomes bad at some minute.
_BAD_FROM_START = 0.5
_BECOMES_BAD_PER_MINUTE = 1 / 500
_LEVEL_CHANGES_PER_MINUTE = 0.01
#: A minute with more requests is scaled down to this number, which loses evidence, not validity.
_MAX_COUNT = 20_000
#: Quantile of the normal distribution for the bound of the stables' share (one-sided 90 %).
_STABLE_Z = 1.3
#: A stable minute this many standard deviations above the bound is a burst of all slots.
_STANDOUT_Z = 3.0
_RECENT_MINUTES = 30
#: Probability that a release begins within a burst.
_BURST_AT_START = 0.1
_MAX_EVIDENCE = 1e100
#: Likelihood ratios computed at once.
_CHUNK = 500_000


@dataclass(frozen=True)
class BurstModel:
    """Bursts of a healthy slot: probability of a begin and of an end, per minute."""

    begin: float
    end: float

    @classmethod
    def for_bursts(cls, max_minutes: int, per_minute: float) -> "BurstModel":
        """Return a model in which a burst is longer than `max_minutes` with probability 3 %."""
        return cls(per_minute, 1 - 0.0285 ** (1 / max(max_minutes, 1)))


class Allowance(NamedTuple):
    """What the tolerance allows, given the stables' share s: constant + multiple * s."""

    constant: float
    multiple: float


class _LikelihoodTables:
    """log of (beta-binomial at each level / binomial), from tables of rising factorials."""

    def __init__(self, max_count: int) -> None:
        spread = LEVELS * (1 - LEVELS)
        self._precision = precision = 1 / (_LEVEL_SPREAD**2 * spread) - 1
        numbers = np.arange(max_count + 1)[:, None]
        self._bad = _log_rising(LEVELS * precision, numbers)
        self._good = _log_rising((1 - LEVELS) * precision, numbers)
        self._all = _log_rising(precision, numbers)

    def log_ratio(self, bad: Counts, total: Counts, allowed: Floats) -> Floats:
        """Return the log likelihood ratios; shape of the counts, plus one axis of levels.

        A ratio that rises again below some number of failures is held constant there: so it
        increases with failures, and is an e-value for every share below the allowed one.
        """
        allowed, total = allowed[..., None], total[..., None]
        lowest = np.ceil((total - 1) * allowed - self._precision * (LEVELS - allowed))
        counted = np.clip(np.maximum(bad[..., None], lowest), 0, total).astype(np.int64)
        good = total - counted
        column = np.arange(len(LEVELS))
        level = self._bad[counted, column] + self._good[good, column] - self._all[total, column]
        null = counted * np.log(allowed) + good * np.log1p(-allowed)
        too_low = _log_odds(allowed) + _MIN_LEVEL_DISTANCE > _LEVEL_LOG_ODDS
        return np.where(too_low, 0.0, level - null)


def _log_rising(start: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Log of start * (start + 1) * ... with as many factors as the row's number."""
    logs = np.log(start + np.maximum(numbers - 1, 0))
    logs[0] = 0
    result: Floats = np.cumsum(logs, axis=0)
    return result


def _log_odds(share: Floats) -> Floats:
    result: Floats = np.log(share) - np.log1p(-share)
    return result


def log_evidence(bad: Counts, total: Counts, allowed: Floats, bursts: BurstModel) -> Floats:
    """Return the log of the e-process after each minute.

    Args:
        bad: canary's failures, shape (..., minutes).
        total: canary's requests, same shape; `bad` must not exceed it.
        allowed: largest share that is within the tolerance, same shape, from 0 to 1.
        bursts: what is assumed of a healthy slot.

    Returns:
        Shape (..., minutes). The canary is worse than allowed when it exceeds log(1/error rate).
    """
    bad, total = _scale_down(bad, total)
    allowed = np.clip(allowed, 1e-7, 0.9999)
    tables = _LikelihoodTables(int(total.max(initial=0)))
    evidence = np.empty(bad.shape)
    models = _Models(bad.shape[:-1], bursts)
    chunk = max(1, _CHUNK // max(len(LEVELS) * bad[..., 0].size, 1))
    for start in range(0, bad.shape[-1], chunk):
        minutes = (..., slice(start, start + chunk))
        ratios = np.exp(
            np.clip(tables.log_ratio(bad[minutes], total[minutes], allowed[minutes]), -200, 200)
        )
        for offset in range(ratios.shape[-2]):
            evidence[..., start + offset] = models.add_minute(ratios[..., offset, :])
    return np.log(evidence)


class _Models:
    """Likelihoods of both models, divided by that of the acceptable one."""

    def __init__(self, shape: tuple[int, ...], bursts: BurstModel) -> None:
        levels = len(LEVELS)
        self._good: Floats = np.full((*shape, 1), 1 - _BURST_AT_START)
        self._burst: Floats = np.full((*shape, levels), _BURST_AT_START / levels)
        self._bad: Floats = np.full((*shape, levels), _BAD_FROM_START / levels)
        self._not_yet_bad = 1 - _BAD_FROM_START
        self._bursts = bursts

    def add_minute(self, ratio: Floats) -> Floats:
        """Add the likelihood ratios of a minute, shape (..., levels); return the evidence."""
        levels, bursts = len(LEVELS), self._bursts
        ended = bursts.end * self._burst.sum(-1, keepdims=True)
        burst = ratio * ((1 - bursts.end) * self._burst + bursts.begin / levels * self._good)
        # Bursts may be rarer than assumed: a minute in which none begins costs nothing.
        good = self._good + ended
        changed = _LEVEL_CHANGES_PER_MINUTE * self._bad.sum(-1, keepdims=True)
        changed += _BECOMES_BAD_PER_MINUTE * self._not_yet_bad
        bad = ratio * ((1 - _LEVEL_CHANGES_PER_MINUTE) * self._bad + changed / levels)
        self._not_yet_bad *= 1 - _BECOMES_BAD_PER_MINUTE
        acceptable = good + burst.sum(-1, keepdims=True)
        self._good, self._burst = good / acceptable, burst / acceptable
        self._bad = np.minimum(bad / acceptable, _MAX_EVIDENCE)
        evidence: Floats = self._not_yet_bad + self._bad.sum(-1)
        return evidence


def _scale_down(bad: Counts, total: Counts) -> tuple[Counts, Counts]:
    factor = np.minimum(1.0, _MAX_COUNT / np.maximum(total, 1))
    return (bad * factor).astype(np.int64), (total * factor).astype(np.int64)


def allowed_share(bad: Counts, total: Counts, allowance: Allowance) -> Floats:
    """Return the largest acceptable share of the canary at each minute.

    The stables' share is the upper bound over all minutes so far or over the last 30 minutes,
    whichever is larger; in a minute in which the stables themselves stand out, it is theirs.

    Args:
        bad: failures of all stables together, shape (..., minutes).
        total: requests of all stables together, same shape.
        allowance: the tolerance.
    """
    recent = _upper_bound(_rolling_sum(bad), _rolling_sum(total))
    bound = np.maximum(_upper_bound(bad.cumsum(-1), total.cumsum(-1)), recent)
    bound = np.clip(bound, 0, 1)
    expected = total * bound
    deviation = np.sqrt(np.maximum(expected * (1 - bound), 1e-12))
    stands_out = (bad > 1) & (bad - expected > _STANDOUT_Z * deviation)
    share = np.where(stands_out, bad / np.maximum(total, 1), bound)
    return np.clip(allowance.constant + allowance.multiple * share, 1e-7, 0.9999)


def _upper_bound(bad: Counts, total: Counts) -> Floats:
    """Upper bound of a share from a score interval of a Poisson count."""
    centre = bad + _STABLE_Z**2 / 2
    bound: Floats = (centre + _STABLE_Z * np.sqrt(bad + _STABLE_Z**2 / 4)) / np.maximum(total, 1)
    return bound


def _rolling_sum(counts: Counts) -> Counts:
    total = counts.cumsum(-1)
    result = total.copy()
    result[..., _RECENT_MINUTES:] -= total[..., :-_RECENT_MINUTES]
    return result
