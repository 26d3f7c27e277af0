"""Synthetic series for the query of the mean latency, as a test file for `promtool`.

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
#: Name of the rule that holds the query.
RECORD = "release:mean_seconds"


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        name: what it shows.
        series: what Prometheus has scraped.
        expected: result in seconds; None: empty. Not a number is `nan`.
    """

    name: str
    series: Series
    expected: float | None


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


STABLE = served("stable-1", 60) | served("stable-2", 60)
IDLE_CANARY = counted("canary", "7", "0x60", "0x60")

CASES = [
    Case("a canary with a latency of 100 ms", STABLE | served("canary", 30), 0.1),
    Case("a latency of 700 ms", STABLE | served("canary", 30, seconds=0.7), 0.7),
    Case(
        "only successful requests count, because failures are fast",
        served("canary", 285)
        | served("canary", 15, seconds=0.001, status="500")
        | served("canary", 300, seconds=0.001, status="400"),
        0.1,
    ),
    Case(
        "other routes do not count",
        served("canary", 30) | served("canary", 300, seconds=0.001, route="/openapi.json"),
        0.1,
    ),
    Case("without traffic there is no number", IDLE_CANARY, nan),
    Case(
        "if all requests fail there is no number",
        IDLE_CANARY | served("canary", 30, seconds=0.001, status="500"),
        nan,
    ),
    Case("without a canary there is no result", STABLE, None),
    Case(
        "the previous version in the canary slot does not count",
        counted("canary", "6", "0+300x30 _x30", "0+3x30 _x30") | served("canary", 30, seconds=0.7),
        0.7,
    ),
    Case(
        "a restart of the canary resets its counters",
        counted("canary", "7", "0+30x20 _ _ 0+30x37", "0+3x20 _ _ 0+3x37"),
        0.1,
    ),
]


def build_test_file(rules: str) -> dict[str, Any]:
    """The content of a test file for `promtool test rules`, with all cases for a rule file."""
    return {
        "rule_files": [rules],
        "evaluation_interval": INTERVAL,
        "tests": [_test(case) for case in CASES],
    }


def _test(case: Case) -> dict[str, Any]:
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    value, result = f"sum({RECORD})", case.expected
    if result is not None and isnan(result):
        value, result = f"{value} != bool {value}", 1
    else:
        value = f"round({value}, 0.000001)"
    samples = [] if result is None else [{"labels": "{}", "value": result}]
    test = {"expr": value, "eval_time": WINDOW, "exp_samples": samples}
    return {
        "name": case.name, "interval": INTERVAL, "input_series": series,
        "promql_expr_test": [test],
    }  # fmt: skip
