"""PromQL with which a reader sees the counts behind a check in Prometheus.

The analysis reads whole numbers per minute (`prometheus.MinuteReader`). These queries show the
same counters as increases of a whole window, which Prometheus extrapolates: they differ by some
requests.
"""

from typing import Any

from app.canary_analysis.prometheus import Queries

#: Check -> names of the counters that it is computed from; the others are not read of Prometheus.
CHECK_COUNTERS = {
    **dict.fromkeys(
        ("failures", "failure_ratio", "guard_failure_ratio", "client_errors", "requests",
         "traffic_share"), ("status",)
    ),
    **dict.fromkeys(
        ("p99", "p99_seconds", "timeouts", "timeout_ratio", "guard_timeout_ratio"), ("buckets",)
    ),
    **dict.fromkeys(
        ("prometheus_mean_seconds", "mean", "mean_seconds", "guard_mean_seconds"),
        ("seconds", "buckets"),
    ),
    **dict.fromkeys(("popular_share", "recent_share"), ("source",)),
    **dict.fromkeys(("scraped_ratio", "reached_ratio"), ("up",)),
    "recent_unused": ("recent_unused", "source"),
    "unanswered": ("started", "status"),
}  # fmt: skip


def add_queries(
    result: dict[str, Any], queries: Queries, at: float, minute_seconds: int, guard_window: int
) -> dict[str, Any]:
    """Add to a result what a reader needs to see its counts in Prometheus.

    Args:
        result: of the analysis.
        queries: what was asked of Prometheus.
        at: Unix time of the end of the last minute that was judged.
        minute_seconds: length of a minute.
        guard_window: minutes that guards of the last minutes look at.

    Returns:
        The result with `queries` (by counter, with $WINDOW such as 300s and $TIME to fill in) and
        `until`; each check with its `counters` and its `window_seconds`.
    """
    whole = minute_seconds * (result["minute"] + 1)
    windows = {"guard": min(whole, minute_seconds * guard_window)}
    checks = [
        {
            **check,
            "counters": list(CHECK_COUNTERS.get(check["name"], ())),
            "window_seconds": windows.get(check["kind"], whole),
        }
        for check in result["checks"]
    ]
    return {**result, "checks": checks, "until": at, "queries": build_queries(queries)}


def build_queries(queries: Queries) -> dict[str, str]:
    """Return a query for each counter: its increase by slot in $WINDOW before $TIME."""
    found = {}
    for name, counter in queries.counters.items():
        labels = f"slot, {counter.by}" if counter.by else "slot"
        found[name] = " or ".join(
            f"sum by ({labels}) (increase({selector}[$WINDOW] @ $TIME))"
            for selector in (counter.canary, counter.stables)
        )
    return {**found, "up": f"avg by (slot) (avg_over_time({queries.up}[$WINDOW] @ $TIME))"}
