"""Comparison of a share of the canary's requests with that of the stables."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.checks import UNDECIDED, Check, first_minute, outcome_of, requests_needed
from app.canary_analysis.intervals import (
    DesignEffect,
    ErrorRates,
    Shares,
    block_lengths,
    difference_design_effect,
    difference_interval,
    share_design_effect,
)
from app.canary_analysis.limits import Limits
from app.canary_analysis.observations import Counts, Observations, SlotCounts
from app.canary_analysis.rate_guard import Allowance, BurstModel, allowed_share, log_evidence


class Compared(NamedTuple):
    """Counts of one share.

    Attributes:
        canary: shape (..., minutes).
        stables: of each stable slot, shape (..., slots, minutes).
    """

    canary: Shares
    stables: Shares

    @property
    def together(self) -> Shares:
        """Counts of all stables together, shape (..., minutes)."""
        return Shares(self.stables.bad.sum(-2), self.stables.total.sum(-2))


class Bounds(NamedTuple):
    """Tolerance of the guard and margin of the verdict.

    Each is a constant plus a multiple of the stables' share.
    """

    tolerance: Allowance
    margin: Allowance


def failure_bounds(limits: Limits) -> Bounds:
    """Return the bounds of failures, client errors, unanswered and timed-out requests."""
    return Bounds(
        Allowance(limits.failure_tolerance, 1 + limits.failure_tolerance_ratio),
        Allowance(limits.failure_margin, limits.failure_margin_ratio),
    )


def popular_bounds(limits: Limits) -> Bounds:
    """Return the bounds of popular recommendations, and of those without recent activity."""
    return Bounds(Allowance(limits.popular_tolerance, 1.0), Allowance(limits.popular_margin, 0.0))


class GuardInput(NamedTuple):
    """Input of a guard, each of shape (..., minutes)."""

    bad: Counts
    total: Counts
    allowed: NDArray[np.float64]


class Comparison(NamedTuple):
    """A share to be compared."""

    name: str
    title: str
    compared: Compared
    bounds: Bounds

    def guard_input(self) -> GuardInput:
        """Return what the guard compares: the canary's counts with what the stables' allow."""
        together = self.compared.together
        allowed = allowed_share(together.bad, together.total, self.bounds.tolerance)
        # The stables' share is unknown before their first request.
        allowed = np.where(together.total.cumsum(-1) > 0, allowed, 1.0)
        return GuardInput(*self.compared.canary, allowed)


def guard_evidence(inputs: list[GuardInput], limits: Limits) -> list[NDArray[np.float64]]:
    """Return the log evidence after each minute that the canary is beyond each tolerance."""
    bursts = BurstModel.for_bursts(limits.max_burst_minutes, limits.max_bursts_per_minute)
    bad = np.stack([values.bad for values in inputs])
    total = np.stack([values.total for values in inputs])
    allowed = np.stack([values.allowed for values in inputs])
    return list(log_evidence(bad, total, allowed, bursts))


def compare_shares(comparison: Comparison, evidence: NDArray[np.float64], limits: Limits) -> Check:
    """Compare a share in the whole window; `evidence` is that of its guard in each minute."""
    compared, bounds = comparison.compared, comparison.bounds
    canary, stables = compared.canary, compared.together
    effects = design_effects(compared, limits)
    requests = canary.total.sum(-1).astype(float)
    errors = error_rates(requests, limits)
    interval = difference_interval(canary, stables, bounds.margin.multiple, effects, errors)
    reference = stables.bad.sum(-1) / np.maximum(stables.total.sum(-1), 1)
    limit = bounds.margin.constant + bounds.margin.multiple * reference
    outcome = outcome_of(interval.lower, interval.upper, limit)
    # Without requests of both there is nothing to compare.
    known = (requests > 0) & (stables.total.sum(-1) > 0)
    return Check(
        name=comparison.name,
        title=comparison.title,
        outcome=np.where(known, outcome, UNDECIDED),
        value=canary.bad.sum(-1) / np.maximum(requests, 1),
        reference=reference,
        difference=True,
        lower=interval.lower,
        upper=interval.upper,
        limit=limit,
        needed=requests_needed(requests, interval.value, (interval.lower, interval.upper), limit),
        aborted_at=first_minute(evidence > np.log(1 / limits.guard_error_rate)),
        evidence=evidence[..., -1],
    )


def error_rates(requests: NDArray[np.float64], limits: Limits) -> ErrorRates:
    """Return the error rates of a comparison with this number of canary requests.

    With the least number of requests, promoting a healthy canary takes nearly all of the error that
    is allowed. With more it does not: the error falls to half, so that a canary at the margin is
    promoted less often than allowed.
    """
    share = np.sqrt(np.clip(limits.min_requests / np.maximum(requests, 1), 0.25, 1.0))
    return ErrorRates(limits.abort_error_rate, limits.promote_error_rate * share)


def show_share(name: str, title: str, compared: Compared) -> Check:
    """Return a share in the whole window that is not judged."""

    def divide(counts: Shares) -> NDArray[np.float64]:
        share: NDArray[np.float64] = counts.bad.sum(-1) / np.maximum(counts.total.sum(-1), 1)
        return share

    value, reference = divide(compared.canary), divide(compared.together)
    return Check(name, title, value=value, reference=reference, kind="shown")


def design_effects(compared: Compared, limits: Limits) -> tuple[DesignEffect, DesignEffect]:
    """Return the design effects of canary - stables, and of the stables' own share.

    The first also counts how much the two halves of the stables differ from each other: they run
    the same version, so this is how much slots differ by chance.
    """
    lengths = block_lengths(compared.canary.bad.shape[-1], limits.max_burst_minutes)
    stables = compared.together
    own = share_design_effect(stables, lengths)
    effect = difference_design_effect(compared.canary, stables, lengths)
    if compared.stables.bad.shape[-2] > 1:
        halves = [
            Shares(*(counts[..., start::2, :].sum(-2) for counts in compared.stables))
            for start in (0, 1)
        ]
        return effect.max(difference_design_effect(halves[0], halves[1], lengths)), own
    return effect.max(own), own


# -- counts of each share -------------------------------------------------------------------------


def select_failures(observations: Observations) -> Compared:
    """5xx of all responses but 4xx."""
    return _compare(
        observations, lambda slots: (slots.failures, slots.answered - slots.client_errors)
    )


def select_client_errors(observations: Observations) -> Compared:
    """4xx of all responses."""
    return _compare(observations, lambda slots: (slots.client_errors, slots.answered))


def select_popular(observations: Observations) -> Compared:
    """Popular lists of all lists."""

    def count(slots: SlotCounts) -> tuple[Counts, Counts]:
        assert slots.popular is not None and slots.recommended is not None  # noqa: S101
        return slots.popular, slots.recommended

    return _compare(observations, count)


def select_recent(observations: Observations) -> Compared:
    """Lists by recent activity of all lists."""

    def count(slots: SlotCounts) -> tuple[Counts, Counts]:
        assert slots.recent is not None and slots.recommended is not None  # noqa: S101
        return slots.recent, slots.recommended

    return _compare(observations, count)


def select_recent_unused(observations: Observations) -> Compared:
    """Lists that could not use recent activity of all lists."""

    def count(slots: SlotCounts) -> tuple[Counts, Counts]:
        assert slots.recent_unused is not None and slots.recommended is not None  # noqa: S101
        return slots.recent_unused, slots.recommended

    return _compare(observations, count)


def select_unanswered(observations: Observations) -> Compared:
    """Requests that were started and never answered, of those started."""
    return _compare(observations, _count_unanswered)


def select_slower(observations: Observations, bound: int) -> Compared:
    """Successful responses slower than the bound with this index, of all successful ones."""

    def count(slots: SlotCounts) -> tuple[Counts, Counts]:
        assert slots.buckets is not None  # noqa: S101 - the caller has checked it
        return slots.buckets[..., bound + 1 :].sum(-1), slots.buckets.sum(-1)

    return _compare(observations, count)


def _count_unanswered(slots: SlotCounts) -> tuple[Counts, Counts]:
    """Count requests that are missing for good.

    Requests in progress at the end of a minute are answered in the next; what counts is the growth
    of the largest difference so far, which they move by a few requests in all.
    """
    assert slots.started is not None  # noqa: S101 - the caller has checked it
    missing = np.maximum((slots.started - slots.answered).cumsum(-1), 0)
    largest = np.maximum.accumulate(missing, axis=-1)
    new = np.diff(largest, axis=-1, prepend=0)
    return new, np.maximum(slots.started, new)


def _compare(
    observations: Observations, count: Callable[[SlotCounts], tuple[Counts, Counts]]
) -> Compared:
    canary = Shares(*(counts[..., 0, :] for counts in count(observations.canary)))
    return Compared(canary, Shares(*count(observations.stables)))
