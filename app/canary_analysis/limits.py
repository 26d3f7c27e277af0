"""Limits of the verdict and assumptions of its tests."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from app.canary_analysis.errors import AnalysisInputError


@dataclass(frozen=True)
class Limits:
    """All settings of an analysis. Shares are numbers from 0 to 1, times are seconds.

    A canary within a tolerance is not aborted by a guard; one at a margin is not promoted. Both are
    the stables' share plus a constant (`..._tolerance`, `..._margin`) plus a multiple of the
    stables' share (`..._tolerance_ratio`, `..._margin_ratio`).
    """

    # Evidence: with less the verdict is INCONCLUSIVE.
    min_requests: int = 3500
    min_scraped_ratio: float = 0.9
    min_traffic_share: float = 0.18
    max_traffic_share: float = 0.22

    # Comparison with the stables. Failures are 5xx and requests that were never answered.
    failure_tolerance: float = 0.001
    failure_tolerance_ratio: float = 0.5
    failure_margin: float = 0.003
    failure_margin_ratio: float = 1.0
    popular_tolerance: float = 0.05
    popular_margin: float = 0.10
    # Slower only beyond both: a ratio, and a difference in seconds.
    max_latency_ratio: float = 2.0
    max_latency_increase_seconds: float = 0.005

    # Online quality (takes per answer), relative to production's: shown to be better than the
    # margin it passes, else shown to be below the tolerance it aborts. Error rate of either, a
    # little below the 1 % that simulations may show, and with how many credited watches and users
    # the rule is applied.
    quality_tolerance: float = 0.0
    quality_margin: float = 0.05
    quality_error_rate: float = 0.008
    quality_min_takes: int = 200
    quality_min_users: int = 100

    # Outer fence: absolute limits, whatever the stables do.
    max_mean_seconds: float = 0.5
    max_p99_seconds: float = 0.25
    min_success_ratio: float = 0.99
    max_timeout_ratio: float = 0.01
    #: NGINX's timeout for one try; a slower response is retried in another slot.
    edge_timeout_seconds: float = 0.25

    # Fence of the guards: minutes looked back, consecutive failures that abort, limits.
    guard_window: int = 5
    guard_min_failures: int = 2
    guard_min_requests: int = 100
    guard_max_mean_seconds: float = 0.5
    guard_min_success_ratio: float = 0.5
    guard_max_timeout_ratio: float = 0.5
    guard_min_reached_ratio: float = 0.5

    # Errors of one check: a healthy canary aborted by its guard, aborted at the deadline, and a
    # canary at the margin promoted with the least number of requests. With more requests the last
    # one falls, to half from four times that number on.
    guard_error_rate: float = 0.001
    abort_error_rate: float = 0.001
    promote_error_rate: float = 0.009

    # What is assumed of a healthy slot: bursts of up to this many minutes, in which any share of
    # the requests may fail, and at most this many bursts begin per minute.
    max_burst_minutes: int = 10
    max_bursts_per_minute: float = 0.02


_NAMES = {field.name: field.type for field in fields(Limits)}
#: Lower and upper bounds (inclusive) of settings that are neither counts nor shares.
_RANGES = {
    "max_latency_ratio": (1.0, 1000.0),
    "failure_tolerance_ratio": (0.0, 1000.0),
    "failure_margin_ratio": (0.0, 1000.0),
    "guard_error_rate": (1e-9, 0.5),
    "abort_error_rate": (1e-9, 0.5),
    "quality_error_rate": (1e-9, 0.5),
    "promote_error_rate": (1e-9, 0.5),
    "max_bursts_per_minute": (1e-6, 0.5),
}
_COUNTS = ("guard_window", "guard_min_failures", "max_burst_minutes")


def parse_limits(settings: Iterable[str]) -> Limits:
    """Return the default limits with some of them replaced.

    Args:
        settings: texts such as `failure_margin=0.01`.

    Raises:
        AnalysisInputError: an unknown name, no number, a number out of range, or a tolerance that
            is not below its margin.
    """
    limits = Limits()
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in _NAMES:
            raise AnalysisInputError(f"unknown setting {text!r}; the names are {', '.join(_NAMES)}")
        numbers: dict[str, Any] = {name: _parse_number(name, value)}
        limits = replace(limits, **numbers)
    _check_order(limits)
    return limits


def _parse_number(name: str, text: str) -> float:
    kind = int if _NAMES[name] in (int, "int") else float
    try:
        value = kind(text)
    except ValueError:
        raise AnalysisInputError(f"{name}={text}: not a number") from None
    default_range = (0, 10**9) if kind is int or name.endswith("_seconds") else (0, 1)
    low, high = _RANGES.get(name, default_range)
    if name in _COUNTS:
        low, high = 1, 10_000
    if not low <= value <= high:
        raise AnalysisInputError(f"{name}={text}: must be from {low:g} to {high:g}")
    return value


def _check_order(limits: Limits) -> None:
    pairs = (
        ("failure_tolerance", "failure_margin"),
        ("failure_tolerance_ratio", "failure_margin_ratio"),
        ("popular_tolerance", "popular_margin"),
        ("quality_tolerance", "quality_margin"),
        ("min_traffic_share", "max_traffic_share"),
    )
    for low, high in pairs:
        if getattr(limits, low) > getattr(limits, high):
            raise AnalysisInputError(f"{low} must not be above {high}")
