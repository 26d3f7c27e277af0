"""Combine all checks of a window into one verdict."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis import evidence_checks, fence_checks, latency_checks, share_checks
from app.canary_analysis.checks import FAILED, NEVER, PASSED, UNDECIDED, Check
from app.canary_analysis.limits import Limits
from app.canary_analysis.observations import Observations
from app.canary_analysis.share_checks import Comparison

PROMOTE, INCONCLUSIVE, ABORT = 0, 1, 2

_TITLES = {
    "unanswered": "share of requests begun and never answered",
    "popular_share": "share of popular recommendations",
    "recent_unused": "share of recommendations that could not use recent activity",
    "recent_share": "share of recommendations by recent activity",
    "mean": "mean latency",
    "mean_seconds": "mean latency",
    "p99": "99th percentile of the latency",
    "timeouts": "share of responses slower than the edge's timeout",
}


@dataclass(frozen=True)
class Decision:
    """Verdict of each release, with the leading axes of the observations.

    Attributes:
        verdict: `PROMOTE`, `INCONCLUSIVE` or `ABORT` at the end of the window; `ABORT` also if a
            guard has aborted before.
        aborted_at: first minute (from 0) at which a guard aborts, or `NEVER`.
        checks: all checks.
    """

    verdict: NDArray[np.int64]
    aborted_at: NDArray[np.int64]
    checks: list[Check]


def decide(observations: Observations, limits: Limits) -> Decision:
    """Make all checks of a window of at least one minute."""
    checks = make_checks(observations, limits)
    shape = observations.canary.answered.shape[:-2]
    aborted_at = np.full(shape, NEVER)
    failed, passed = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    enough = _has_enough_evidence(checks, shape)
    for check in checks:
        if check.aborted_at is not None:
            aborted_at = np.minimum(aborted_at, check.aborted_at)
        if check.outcome is None or check.kind == "guard":
            continue
        passed &= check.outcome == PASSED
        # The limits of the fence are compared with estimates, which need enough requests.
        failed |= (check.outcome == FAILED) & (enough | (check.kind == "comparison"))
    no_stables = observations.stables.slots == 0
    verdict = np.where(failed, ABORT, np.where(passed & (not no_stables), PROMOTE, INCONCLUSIVE))
    return Decision(np.where(aborted_at < NEVER, ABORT, verdict), aborted_at, checks)


def _has_enough_evidence(checks: list[Check], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    enough = np.ones(shape, dtype=bool)
    for check in checks:
        if check.name in {"requests", "scraped_ratio"} and check.outcome is not None:
            enough &= check.outcome == PASSED
    return enough


def make_checks(observations: Observations, limits: Limits) -> list[Check]:
    """Return all checks in the order in which they are reported: the mean latency first."""
    failures = share_checks.select_failures(observations)
    checks = [
        *_latency_fence(observations, limits),
        fence_checks.fence_share(
            "failure_ratio",
            "share of failed requests",
            failures,
            1 - limits.min_success_ratio,
            limits,
        ),
        fence_checks.guard_share(
            "guard_failure_ratio",
            "share of failed requests in the last minutes",
            failures,
            1 - limits.guard_min_success_ratio,
            limits,
        ),
        evidence_checks.check_requests(observations, limits),
        evidence_checks.check_scraped(observations, limits),
        evidence_checks.check_traffic(observations, limits),
        evidence_checks.check_reached(observations, limits),
    ]
    return checks if observations.stables.slots == 0 else checks + _compare(observations, limits)


def _compare(observations: Observations, limits: Limits) -> list[Check]:
    """Compare shares and latencies; all guards are computed together."""
    comparisons = _comparisons(observations, limits)
    has_latency = not _missing(observations, "buckets")
    inputs = [comparison.guard_input() for comparison in comparisons]
    if has_latency:
        inputs.append(latency_checks.p99_guard_input(observations, limits))
    evidence = share_checks.guard_evidence(inputs, limits)
    if has_latency:
        evidence[-1] = latency_checks.add_slow_blocks(evidence[-1], inputs[-1], limits)
    checks = [
        share_checks.compare_shares(comparison, log, limits)
        for comparison, log in zip(comparisons, evidence, strict=False)
    ]
    if has_latency:
        checks += [
            latency_checks.compare_mean(observations, limits),
            latency_checks.compare_p99(observations, evidence[-1], limits),
        ]
    # How the recommendations that are not popular divide: a newer model knows more of the same
    # users by itself, so that fewer of its recommendations are by recent activity.
    if not _missing(observations, "recent"):
        recent = share_checks.select_recent(observations)
        checks.append(share_checks.show_share("recent_share", _TITLES["recent_share"], recent))
    return checks + _missing_checks(observations, limits) + _timeout_fence(comparisons, limits)


def _comparisons(observations: Observations, limits: Limits) -> list[Comparison]:
    bounds = share_checks.failure_bounds(limits)
    failures = share_checks.select_failures(observations)
    client_errors = share_checks.select_client_errors(observations)
    comparisons = [
        Comparison("failures", "share of failed requests", failures, bounds),
        Comparison("client_errors", "share of client errors (4xx)", client_errors, bounds),
    ]
    if not _missing(observations, "started"):
        unanswered = share_checks.select_unanswered(observations)
        comparisons.append(Comparison("unanswered", _TITLES["unanswered"], unanswered, bounds))
    popular_bounds = share_checks.popular_bounds(limits)
    if not _missing(observations, "popular"):
        popular = share_checks.select_popular(observations)
        comparisons.append(
            Comparison("popular_share", _TITLES["popular_share"], popular, popular_bounds)
        )
    if not _missing(observations, "recent_unused"):
        unused = share_checks.select_recent_unused(observations)
        comparisons.append(
            Comparison("recent_unused", _TITLES["recent_unused"], unused, popular_bounds)
        )
    edge = _edge_bound(observations, limits)
    if not _missing(observations, "buckets") and edge is not None:
        slower = share_checks.select_slower(observations, edge)
        comparisons.append(Comparison("timeouts", _TITLES["timeouts"], slower, bounds))
    return comparisons


def _edge_bound(observations: Observations, limits: Limits) -> int | None:
    """Return the index of the bucket bound that equals the edge's timeout."""
    found = np.flatnonzero(np.isclose(observations.bounds, limits.edge_timeout_seconds))
    return int(found[0]) if len(found) else None


def _missing_checks(observations: Observations, limits: Limits) -> list[Check]:
    """Return checks for which canary or stables export no series, or not with the bounds needed."""
    needs = {
        "unanswered": "started",
        "popular_share": "popular",
        "recent_unused": "recent_unused",
        "mean": "buckets",
        "p99": "buckets",
        "timeouts": "buckets",
    }
    missing = {name: _missing(observations, series) for name, series in needs.items()}
    checks = [_missing_check(name, side) for name, side in missing.items() if side]
    if not missing["timeouts"] and _edge_bound(observations, limits) is None:
        reason = f"no bucket that all slots have ends at {limits.edge_timeout_seconds * 1000:g} ms"
        checks.append(Check("timeouts", _TITLES["timeouts"], skipped=reason))
    return checks


def _timeout_fence(comparisons: list[Comparison], limits: Limits) -> list[Check]:
    for comparison in comparisons:
        if comparison.name == "timeouts":
            title, compared = comparison.title, comparison.compared
            return [
                fence_checks.fence_share(
                    "timeout_ratio", title, compared, limits.max_timeout_ratio, limits
                ),
                fence_checks.guard_share(
                    "guard_timeout_ratio",
                    f"{title} in the last minutes",
                    compared,
                    limits.guard_max_timeout_ratio,
                    limits,
                ),
            ]
    return []


def _latency_fence(observations: Observations, limits: Limits) -> list[Check]:
    if observations.canary.buckets is None:
        return [_missing_check("mean_seconds", "canary")]
    return [
        fence_checks.fence_mean(observations, limits),
        fence_checks.fence_p99(observations, limits),
        *(
            []
            if observations.stables.buckets is None
            else [fence_checks.guard_mean(observations, limits)]
        ),
    ]


def _missing(observations: Observations, name: str) -> str:
    """Return `stables` or `canary` if they do not export what a check needs."""
    for side in ("stables", "canary"):
        if getattr(getattr(observations, side), name) is None:
            return side
    return ""


def _missing_check(name: str, side: str) -> Check:
    """Return a skipped check, or an undecided one if the canary lacks what the stables export."""
    title = _TITLES[name]
    if side == "stables":
        return Check(name, title, skipped="the stables do not export it")
    return Check(name, title, outcome=np.array(UNDECIDED), skipped="the canary does not export it")
