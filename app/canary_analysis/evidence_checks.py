"""Is there enough evidence, is the canary reachable, and does it get its share of the traffic?"""

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.checks import FAILED, PASSED, UNDECIDED, Check, first_minute
from app.canary_analysis.limits import Limits
from app.canary_analysis.observations import Floats, Observations

#: Share of scrapes that must reach each stable slot: else Prometheus may be the cause.
_MIN_STABLE_REACHED = 0.9


def check_requests(observations: Observations, limits: Limits) -> Check:
    """Number of responses of the canary."""
    value = observations.canary.answered.sum((-1, -2)).astype(float)
    return Check(
        name="requests",
        title="number of canary requests",
        unit="count",
        kind="evidence",
        outcome=np.where(value >= limits.min_requests, PASSED, UNDECIDED),
        value=value,
        limit=np.full(value.shape, float(limits.min_requests)),
        limit_text=f"at least {limits.min_requests:,}",
        needed=np.where(value < limits.min_requests, limits.min_requests - value, np.nan),
    )


def check_scraped(observations: Observations, limits: Limits) -> Check:
    """Share of the window's scrapes that reached the canary; a missing minute has none."""
    full = max(observations.expected_scrapes, 1)
    # A scrape near the end of a minute may count in the next one: only the sum is exact.
    reached = observations.canary.reached.sum((-1, -2))
    value = np.minimum(reached / (full * max(observations.minutes, 1)), 1.0)
    return Check(
        name="scraped_ratio",
        title="share of scrapes that reached the canary",
        kind="evidence",
        outcome=np.where(value >= limits.min_scraped_ratio - 1e-12, PASSED, UNDECIDED),
        value=value,
        limit=np.full(value.shape, limits.min_scraped_ratio),
        limit_text=f"at least {limits.min_scraped_ratio:.0%}",
    )


def check_traffic(observations: Observations, limits: Limits) -> Check:
    """Canary's share of all responses."""
    canary = observations.canary.answered.sum((-1, -2))
    total = canary + observations.stables.answered.sum((-1, -2))
    value = canary / np.maximum(total, 1)
    low, high = limits.min_traffic_share, limits.max_traffic_share
    return Check(
        name="traffic_share",
        title="canary's share of the traffic",
        kind="evidence",
        outcome=np.where((value >= low) & (value <= high), PASSED, UNDECIDED),
        value=value,
        limit=np.full(value.shape, high),
        limit_text=f"from {low:.0%} to {high:.0%}",
    )


def check_reached(observations: Observations, limits: Limits) -> Check:
    """Guard: share of scrapes that reach the canary while the stables are reached.

    An overloaded or dead canary exports nothing else.
    """
    canary = _reached_ratio(observations.canary, limits)[..., 0, :]
    stables = _reached_ratio(observations.stables, limits)
    known = (stables >= _MIN_STABLE_REACHED).all(-2) & (observations.stables.slots > 0)
    too_low = known & (canary < limits.guard_min_reached_ratio)
    last = canary[..., -1]
    return Check(
        name="reached_ratio",
        title="share of scrapes that reached the canary in the last minutes",
        kind="guard",
        outcome=np.where(too_low[..., -1], FAILED, PASSED),
        value=last,
        limit=np.full(last.shape, limits.guard_min_reached_ratio),
        limit_text=f"at least {limits.guard_min_reached_ratio:.0%}",
        aborted_at=first_minute(repeated(too_low, limits.guard_min_failures)),
    )


def _reached_ratio(slots: object, limits: Limits) -> Floats:
    reached, scrapes = (
        rolling_sum(getattr(slots, name), limits.guard_window) for name in ("reached", "scrapes")
    )
    result: Floats = np.where(scrapes > 0, reached / np.maximum(scrapes, 1), np.nan)
    return result


def rolling_sum(counts: NDArray[np.int64], minutes: int) -> NDArray[np.int64]:
    """Sum over the last minutes, at each minute; complete windows only, otherwise 0."""
    total = counts.cumsum(-1)
    result = total.copy()
    result[..., minutes:] -= total[..., :-minutes]
    result[..., : minutes - 1] = 0
    return result


def repeated(failed: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    """Return whether a guard has failed this many minutes in a row."""
    counts = rolling_sum(failed.astype(np.int64), times)
    return counts >= times
