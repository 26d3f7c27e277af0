"""The geometry of the small pictures: a check with its interval and limit, a series over hours.

Positions are in units of the picture's width and height. Templates draw them as SVG.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 160, 24
_MARGIN = 6


@dataclass(frozen=True)
class CheckPicture:
    """Horizontal positions; None where there is no such number.

    Attributes:
        zero: of zero.
        lower: of the lower end of the interval, or of the value where there is no interval.
        upper: of the upper end.
        value: of the value that the interval belongs to.
        limit: of the limit.
    """

    zero: float
    lower: float
    upper: float
    value: float | None
    limit: float


def draw_check(check: dict[str, Any]) -> CheckPicture | None:
    """Place value, interval and limit of a check of `marquee analyze` on one scale.

    Args:
        check: as in `last_evaluation.checks` of a release's state. Where its interval is that of
            the difference to the stable slots, so is the value that is drawn.

    Returns:
        None where the limit, or both value and interval, are missing.
    """
    limit, value = _finite(check.get("limit")), _finite(check.get("value"))
    bounds = check.get("interval")
    if check.get("interval_of") == "difference" and isinstance(bounds, list):
        stables = _finite(check.get("stables"))
        value = None if value is None or stables is None else value - stables
    interval = [_finite(bound) for bound in bounds] if isinstance(bounds, list) else []
    ends = [end for end in interval if end is not None] or ([] if value is None else [value])
    if limit is None or not ends:
        return None
    numbers = [0.0, limit, *ends, *([] if value is None else [value])]
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0

    def place(number: float) -> float:
        return round(_MARGIN + (number - low) / span * (WIDTH - 2 * _MARGIN), 1)

    return CheckPicture(
        zero=place(0.0),
        lower=place(min(ends)),
        upper=place(max(ends)),
        value=None if value is None else place(value),
        limit=place(limit),
    )


def draw_line(values: Sequence[float | None]) -> list[str]:
    """Return the points of the lines of a series for SVG's `polyline`; gaps divide lines.

    The scale begins at zero or below, so that a small change looks small.
    """
    known = [value for value in values if value is not None]
    if not known:
        return []
    low, high = min(0.0, *known), max(known)
    span = (high - low) or 1.0
    step = WIDTH / max(len(values) - 1, 1)
    lines: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        y = HEIGHT - 2 - (value - low) / span * (HEIGHT - 4)
        lines[-1].append(f"{index * step:.1f},{y:.1f}")
    return [" ".join(line) for line in lines if line]


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
