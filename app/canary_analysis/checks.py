"""The result of one check, for one release or for many simulated ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Results at the deadline.
PASSED, UNDECIDED, FAILED = 0, 1, 2
#: A larger estimate of requests needed means that more requests would not help.
_MAX_NEEDED = 1e9
#: Minute of a guard that has not aborted.
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Check:
    """A check of a window. All arrays have the leading axes of the observations.

    Attributes:
        name: such as `failures`.
        title: the value in words, such as "share of failed requests".
        unit: `share`, `seconds` or `count`.
        outcome: `PASSED`, `UNDECIDED` or `FAILED` at the end of the window.
        value: the canary's value.
        reference: the stables' value, or None.
        difference: whether `lower`, `upper` and `limit` are differences to the stables.
        lower: lower bound of the value or difference, or None.
        upper: upper bound, or None.
        limit: largest acceptable value or difference (smallest, for evidence).
        needed: more canary requests needed to decide; NaN if unknown.
        aborted_at: first minute (from 0) at which the guard aborts, or `NEVER`.
        evidence: log of the guard's e-process after the last minute, or None.
        kind: `comparison`, `fence` (absolute limit), `evidence` (of which there must be enough),
            `guard` (not part of the verdict at the deadline) or `shown` (not judged).
        limit_text: the limit in words, if it is not a number.
        skipped: why the check is not made; then nothing else is set.
    """

    name: str
    title: str
    unit: str = "share"
    outcome: NDArray[np.int64] | None = None
    value: Floats | None = None
    reference: Floats | None = None
    difference: bool = False
    lower: Floats | None = None
    upper: Floats | None = None
    limit: Floats | None = None
    needed: Floats | None = None
    aborted_at: NDArray[np.int64] | None = None
    evidence: Floats | None = None
    kind: str = "comparison"
    limit_text: str = ""
    skipped: str = ""


def first_minute(exceeded: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first minute that is true, or `NEVER`; the last axis has the minutes."""
    if exceeded.shape[-1] == 0:
        return np.full(exceeded.shape[:-1], NEVER)
    return np.where(exceeded.any(-1), exceeded.argmax(-1), NEVER)


def outcome_of(lower: Floats, upper: Floats, limit: Floats) -> NDArray[np.int64]:
    """Return `PASSED` if the interval is below the limit, `FAILED` if it is above."""
    return np.where(upper < limit, PASSED, np.where(lower > limit, FAILED, UNDECIDED))


def requests_needed(
    requests: Floats, value: Floats, bounds: tuple[Floats, Floats], limit: Floats
) -> Floats:
    """Estimate how many more requests would move the nearer bound to the limit.

    The distance of a bound from the value shrinks with the square root of the number of requests.
    """
    # A quantile may be infinite or unknown.
    with np.errstate(invalid="ignore"):
        distance = np.where(value < limit, bounds[1] - value, value - bounds[0])
        gap = np.maximum(np.abs(limit - value), 1e-12)
        more = requests * ((distance / gap) ** 2 - 1)
    result: Floats = np.where((more > 0) & (more < _MAX_NEEDED), np.ceil(more), np.nan)
    return result
