"""Synthetic series for the queries of the canary analysis, as a test file for `promtool`.

Requests per scrape interval are 60 in each stable slot (version 6) and 30 in the canary (version 7)
unless a case says otherwise: 80 % to 20 %.
"""

from dataclasses import dataclass
from math import isnan, nan
from typing import Any

#: Name and labels of a series -> its values in promtool's notation, one per scrape interval.
Series = dict[str, str]

RECOMMEND = "/recommend/<user_id>"
BUCKETS = ("0.1", "0.25", "0.3", "0.5", "1.0", "+Inf")
INTERVAL = "15s"
WINDOW = "10m"


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        name: what it shows.
        series: what Prometheus has scraped.
        expected: query without its prefix -> result; None: empty. Not a number is `nan`.
        precision: multiple that results are rounded to.
    """

    name: str
    series: Series
    expected: dict[str, float | None]
    precision: float = 0.000001


def labels(slot: str, **more: str) -> str:
    role = "canary" if slot == "canary" else "stable"
    pairs = {"job": "marquee", "slot": slot, "role": role, **more}
    return ", ".join(f'{name}="{value}"' for name, value in pairs.items())


def served(
    slot: str, count: int, seconds: float = 0.1, status: str = "200", route: str = RECOMMEND
) -> Series:
    """Series of a slot that answers `count` requests per interval in `seconds` each."""
    version = "7" if slot == "canary" else "6"
    selected = labels(slot, version=version, url_rule=route, status=status)
    series = {
        f"flask_http_request_duration_seconds_count{{{selected}}}": f"0+{count}x60",
        f"flask_http_request_duration_seconds_sum{{{selected}}}": f"0+{count * seconds:.6g}x60",
    }
    for bucket in BUCKETS:
        name = f'flask_http_request_duration_seconds_bucket{{{selected}, le="{bucket}"}}'
        series[name] = f"0+{count if seconds <= float(bucket) else 0}x60"
    return series


def counted(slot: str, version: str, count: str, seconds: str = "") -> Series:
    """Series of requests with values of their own, without buckets."""
    selected = labels(slot, version=version, url_rule=RECOMMEND, status="200")
    series = {f"flask_http_request_duration_seconds_count{{{selected}}}": count}
    if seconds:
        series[f"flask_http_request_duration_seconds_sum{{{selected}}}"] = seconds
    return series


def scraped(slot: str, values: str = "1x60") -> Series:
    return {f"up{{{labels(slot)}}}": values}


def recommended(slot: str, personal: int, popular: int, recent: int = 0) -> Series:
    counts = {"personal": personal, "popular": popular, "recent": recent}
    return {
        f"marquee_recommendations_total{{{labels(slot, source=source)}}}": f"0+{count}x60"
        for source, count in counts.items()
    }


def without_recent_activity(slot: str, **reasons: int) -> Series:
    return {
        f"marquee_recent_unused_total{{{labels(slot, reason=reason)}}}": f"0+{count}x60"
        for reason, count in reasons.items()
    }


UP = scraped("canary")
STABLE = served("stable-1", 60) | served("stable-2", 60)
CANARY = served("canary", 30)
IDLE_CANARY = counted("canary", "7", "0x60", "0x60")

CASES = [
    Case(
        "a healthy canary with the same latency (100 ms) as the stable slots",
        STABLE | CANARY | UP | recommended("canary", 24, 6)
        | recommended("stable-1", 48, 12) | recommended("stable-2", 48, 12),
        {"requests": 1200, "scraped_ratio": 1, "mean_seconds": 0.1, "p99_seconds": 0.099,
         "success_ratio": 1, "timeout_ratio": 0, "mean_increase_seconds": 0,
         "success_decrease": 0, "fallback_increase": 0, "traffic_share": 0.2,
         "recent_unused_increase": 0, "recent_increase": 0},
    ),
    Case(
        "a latency of 700 ms exceeds the limit of the mean and the stable slots by 600 ms",
        STABLE | served("canary", 30, seconds=0.7) | UP,
        {"mean_seconds": 0.7, "mean_increase_seconds": 0.6, "timeout_ratio": 1,
         "p99_seconds": 0.995},
    ),
    Case(
        "a latency of 300 ms is within the limit of the mean but exceeds the NGINX timeout",
        STABLE | served("canary", 30, seconds=0.3) | UP,
        {"mean_seconds": 0.3, "timeout_ratio": 1, "p99_seconds": 0.2995},
    ),
    Case(
        "2 % slow responses are a timeout ratio of 0.02 and hardly change the mean",
        STABLE | served("canary", 98) | served("canary", 2, seconds=0.3, status="201") | UP,
        {"timeout_ratio": 0.02, "mean_seconds": 0.1},
    ),
    Case(
        "latency is computed from successful requests only, because failures are fast",
        STABLE | served("canary", 285) | served("canary", 15, seconds=0.001, status="500") | UP,
        {"success_ratio": 0.95, "success_decrease": 0.05, "mean_seconds": 0.1, "requests": 12_000},
    ),
    Case(
        "if all requests fail, latency is NaN and the success ratio 0",
        STABLE | IDLE_CANARY | served("canary", 30, seconds=0.001, status="500") | UP,
        {"mean_seconds": nan, "success_ratio": 0, "success_decrease": 1},
    ),
    Case(
        "no success decrease if the stable slots fail as often as the canary",
        served("stable-1", 57) | served("stable-1", 3, status="503")
        | served("canary", 57) | served("canary", 3, status="500"),
        {"success_decrease": 0, "success_ratio": 0.95},
    ),
    Case(
        "client errors, other routes and health checks are not counted",
        STABLE | CANARY | UP | served("canary", 300, seconds=0.001, status="400")
        | served("canary", 300, seconds=0.001, route="/openapi.json"),
        {"requests": 1200, "mean_seconds": 0.1, "success_ratio": 1},
    ),
    Case(
        "without traffic (constant series) ratios are NaN",
        IDLE_CANARY | counted("stable-1", "6", "0x60") | UP,
        {"requests": 0, "scraped_ratio": 1, "mean_seconds": nan, "success_ratio": nan},
    ),
    Case(
        "without any series the results are empty, not 0",
        STABLE,
        dict.fromkeys(
            ["requests", "scraped_ratio", "mean_seconds", "p99_seconds", "success_ratio",
             "timeout_ratio", "mean_increase_seconds", "success_decrease", "fallback_increase",
             "traffic_share", "recent_unused_increase", "recent_increase"]
        ),
    ),
    Case(
        "without stable slots the comparisons are empty",
        CANARY | UP,
        {"mean_increase_seconds": None, "success_decrease": None, "fallback_increase": None,
         "traffic_share": 1, "mean_seconds": 0.1},
    ),
    Case(
        "the previous version in the canary slot is not counted",
        STABLE | counted("canary", "6", "0+300x30 _x30", "0+3x30 _x30")
        | served("canary", 30, seconds=0.7) | UP,
        {"requests": 1200, "mean_seconds": 0.7},
    ),
    Case(
        "a canary restart resets counters and fails two scrapes",
        STABLE | counted("canary", "7", "0+30x20 _ _ 0+30x37", "0+3x20 _ _ 0+3x37")
        | scraped("canary", "1x20 0 0 1x37"),
        {"mean_seconds": 0.1, "scraped_ratio": 0.95},
    ),
    Case(
        "requests before a restart are counted",
        counted("canary", "7", "0+30x20 _ _ 0+30x37"),
        {"requests": 1110},
        precision=10,
    ),
    Case(
        "25 % failed scrapes are a scraped ratio of 0.75",
        scraped("canary", "1x20 0x9 1x30"),
        {"scraped_ratio": 0.75},
    ),
    Case(
        "a paused Prometheus leaves a gap that lowers the scraped ratio",
        scraped("canary", "1x20 _x10 1x30"),
        {"scraped_ratio": 0.75},
    ),
    Case(
        "25 % of the canary's scrapes succeed while the stable slots are reached",
        scraped("canary", "1x10 0x29") | scraped("stable-1") | scraped("stable-2"),
        {"reached_ratio": 0.25},
    ),
    Case(
        "the reached ratio is empty if a stable slot is not reached either",
        scraped("canary", "0x60") | scraped("stable-1") | scraped("stable-2", "0x60"),
        {"reached_ratio": None},
    ),
    Case(
        "fallback recommendations are 100 % in the canary and 20 % in the stable slots",
        recommended("canary", 0, 30) | recommended("stable-1", 48, 12),
        {"fallback_increase": 0.8},
    ),
    Case(
        "recommendations by recent activity are no fallback, however the rest divides",
        recommended("canary", 24, 6, 0) | recommended("stable-1", 10, 20, 70),
        {"fallback_increase": 0, "recent_increase": -0.7},
    ),
    Case(
        "the canary cannot use recent activity in 60 % of its responses, the stable slots in 10 %",
        recommended("canary", 10, 0) | without_recent_activity("canary", damaged=5, absent=1)
        | recommended("stable-1", 10, 0) | without_recent_activity("stable-1", uncached=1),
        {"recent_unused_increase": 0.5},
    ),
    Case(
        "a stable version of before there was recent activity could use all there was",
        recommended("canary", 10, 0) | without_recent_activity("canary", model=10)
        | recommended("stable-1", 10, 0),
        {"recent_unused_increase": 1},
    ),
    Case(
        "half of the traffic is a traffic share of 0.5",
        served("stable-1", 30) | CANARY,
        {"traffic_share": 0.5},
    ),
]  # fmt: skip


def build_test_file(rules: str) -> dict[str, Any]:
    """The content of a test file for `promtool test rules`, with all cases for a rule file."""
    return {
        "rule_files": [rules],
        "evaluation_interval": INTERVAL,
        "tests": [_test(case) for case in CASES],
    }


def _test(case: Case) -> dict[str, Any]:
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    expected = [_expect(query, result, case) for query, result in case.expected.items()]
    return {
        "name": case.name, "interval": INTERVAL, "input_series": series,
        "promql_expr_test": expected,
    }  # fmt: skip


def _expect(query: str, result: float | None, case: Case) -> dict[str, Any]:
    value = f"sum(release:{query})"
    if result is not None and isnan(result):
        value, result = f"{value} != bool {value}", 1
    else:
        value = f"round({value}, {case.precision:f})"
    samples = [] if result is None else [{"labels": "{}", "value": result}]
    return {"expr": value, "eval_time": WINDOW, "exp_samples": samples}
