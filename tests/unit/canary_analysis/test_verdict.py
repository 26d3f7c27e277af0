"""Verdicts of small simulated releases, and of the points of three public reports."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.canary_analysis.analysis import judge
from app.canary_analysis.limits import Limits
from app.canary_analysis.report import Window
from app.canary_analysis.samples import SampleTable, parse_samples
from bench.operating_curves.peers import mann_whitney_is_high
from tests.support.canary_samples import encode, make_line, make_lines

Lines = list[dict[str, Any]]


def analyze(
    lines: Lines,
    window: int | None = None,
    limits: Limits | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    table = SampleTable()
    table.add(parse_samples(encode(lines)))
    minutes = table.last_minute + 1
    length = window or minutes
    found = judge(table, Window(min(minutes, length), length), version, limits or Limits())
    json.dumps(found, allow_nan=False)
    return found


def outcome(result: dict[str, Any], name: str) -> str:
    (found,) = (check["outcome"] for check in result["checks"] if check["name"] == name)
    assert isinstance(found, str)
    return found


def test_a_canary_like_the_stables_is_promoted() -> None:
    result = analyze(make_lines(100))
    assert (result["verdict"], result["minute"]) == ("PROMOTE", 99)
    assert {check["outcome"] for check in result["checks"]} == {"passed"}
    assert "share of failed requests 0 %" in result["reason"]


def test_the_mean_latency_is_the_first_check() -> None:
    assert analyze(make_lines(100))["checks"][0]["name"] == "mean_seconds"


def test_before_the_deadline_the_analysis_continues() -> None:
    result = analyze(make_lines(80), window=720)
    assert (result["verdict"], result["minute"]) == ("CONTINUE", 79)


def test_too_few_requests_are_inconclusive_and_say_how_many_are_needed() -> None:
    result = analyze(make_lines(60))
    assert result["verdict"] == "INCONCLUSIVE"
    assert "number of canary requests 2,880, must be at least 3,500" in result["reason"]
    (check,) = (c for c in result["checks"] if c["name"] == "requests")
    assert check["needed"] == 620


def fail(share: float, every: int = 1) -> Callable[[int], dict[str, Any]]:
    return lambda minute: {"failures": round(48 * share) if minute % every == 0 else 0}


@pytest.mark.parametrize(
    ("canary", "check"),
    [
        (fail(0.02), "failures"),
        (lambda minute: {"client_errors": 14}, "client_errors"),
        (lambda minute: {"started": 49}, "unanswered"),
        (lambda minute: {"source": {"personal": 20, "popular": 28}}, "popular_share"),
        (lambda minute: {"latency": 0.2}, "p99"),
        (lambda minute: {"latency": 0.4}, "guard_timeout_ratio"),
    ],
)
def test_a_guard_aborts_a_bad_canary_early(
    canary: Callable[[int], dict[str, Any]], check: str
) -> None:
    result = analyze(make_lines(300, canary), window=720)
    assert result["verdict"] == "ABORT"
    assert result["minute"] < 120
    first = [c["name"] for c in result["checks"] if c["aborted_at"] == result["minute"]]
    assert check in first
    assert f"guard in minute {result['minute']}" in result["reason"]


def test_failures_of_every_request_abort_within_minutes() -> None:
    result = analyze(make_lines(30, fail(1.0)), window=720)
    assert result["verdict"] == "ABORT"
    assert result["minute"] <= 6


def test_the_same_failures_in_all_slots_are_no_reason_to_abort_early() -> None:
    lines = make_lines(60)
    for line in lines:
        if 20 <= line["minute"] < 50:
            failures = line["status"]["200"] // 2
            line["status"] = {"200": line["status"]["200"] - failures, "500": failures}
            line["buckets"] = {"+Inf": line["status"]["200"]}
    assert analyze(lines, window=720)["verdict"] == "CONTINUE"


@pytest.mark.parametrize("version", ["7", None])
def test_a_dead_canary_is_aborted_because_it_is_not_reached(version: str | None) -> None:
    def die(minute: int) -> dict[str, Any]:
        return {} if minute < 20 else {"requests": 0, "up": 0}

    lines = make_lines(40, die)
    for line in lines:
        if line["slot"] == "canary" and not line["up"]:
            line["version"] = ""  # what is not reached exports none
    result = analyze(lines, window=720, version=version)
    assert result["verdict"] == "ABORT"
    assert "reached the canary" in result["reason"]


def test_minutes_without_a_line_were_not_scraped() -> None:
    lines = [line for line in make_lines(200) if line["slot"] != "canary" or line["minute"] % 5]
    result = analyze(lines, limits=Limits(min_traffic_share=0.1))
    assert result["verdict"] == "INCONCLUSIVE"
    assert outcome(result, "scraped_ratio") == "undecided"


def test_no_data_means_no_promotion() -> None:
    assert analyze([])["verdict"] == "INCONCLUSIVE"
    only_stables = [line for line in make_lines(100) if line["slot"] != "canary"]
    assert analyze(only_stables)["verdict"] == "INCONCLUSIVE"
    only_canary = [line for line in make_lines(100) if line["slot"] == "canary"]
    assert analyze(only_canary)["verdict"] == "INCONCLUSIVE"


def test_a_check_that_the_stables_do_not_export_is_skipped_and_reported() -> None:
    lines = make_lines(100)
    for line in lines:
        if line["slot"] != "canary":
            del line["started"]
    result = analyze(lines)
    assert result["verdict"] == "PROMOTE"
    assert outcome(result, "unanswered") == "skipped"


def test_a_check_that_only_the_canary_does_not_export_prevents_its_promotion() -> None:
    lines = make_lines(100)
    for line in lines:
        if line["slot"] == "canary":
            del line["source"]
    result = analyze(lines)
    assert result["verdict"] == "INCONCLUSIVE"
    assert "the canary does not export it" in result["reason"]


def add_recent(lines: Lines, unused: dict[str, float], recent: dict[str, float]) -> Lines:
    """Add shares of all recommendations, by the first letter of the slot; they add up to 1."""
    for line in lines:
        n = sum(line["source"].values())
        by_recent = round(n * recent[line["slot"][0]])
        personal = n * 3 // 4 - by_recent
        line["source"] = {"personal": personal, "popular": n // 4, "recent": by_recent}
        line["recent_unused"] = round(n * unused[line["slot"][0]])
    return lines


def test_recommendations_by_recent_activity_are_no_fallback_and_not_judged() -> None:
    lines = add_recent(make_lines(100), unused={"c": 0, "s": 0}, recent={"c": 0, "s": 0.7})
    result = analyze(lines)
    assert result["verdict"] == "PROMOTE"
    assert outcome(result, "popular_share") == outcome(result, "recent_unused") == "passed"
    (check,) = (c for c in result["checks"] if c["name"] == "recent_share")
    assert (check["outcome"], check["value"]) == ("shown", 0)
    assert check["sentence"].endswith("recent activity 0 % (stables 69.8 %), not judged")


@pytest.mark.parametrize("canary", [1.0, 0.9])
def test_where_no_stable_slot_can_use_recent_activity_the_canary_need_not(canary: float) -> None:
    lines = add_recent(make_lines(100), unused={"c": canary, "s": 1}, recent={"c": 0, "s": 0})
    assert analyze(lines)["verdict"] == "PROMOTE"


def test_a_canary_that_cannot_use_recent_activity_is_aborted() -> None:
    lines = add_recent(make_lines(100), unused={"c": 0.6, "s": 0.1}, recent={"c": 0.2, "s": 0.5})
    result = analyze(lines, window=720)
    assert result["verdict"] == "ABORT"
    assert "share of recommendations that could not use recent activity" in result["reason"]


def test_stables_of_before_there_was_recent_activity_are_not_compared() -> None:
    lines = add_recent(make_lines(100), unused={"c": 1, "s": 1}, recent={"c": 0, "s": 0})
    for line in lines:
        if line["slot"] != "canary":
            del line["recent_unused"], line["source"]["recent"]
    result = analyze(lines)
    assert result["verdict"] == "PROMOTE"
    assert outcome(result, "recent_unused") == "skipped"


def test_a_traffic_share_other_than_a_fifth_is_inconclusive() -> None:
    result = analyze(make_lines(100, lambda minute: {"requests": 70}))
    assert result["verdict"] == "INCONCLUSIVE"
    assert outcome(result, "traffic_share") == "undecided"


def test_a_mean_of_more_than_half_a_second_is_aborted_whatever_the_stables_do() -> None:
    lines = [
        make_line(minute, slot, requests=48 if slot == "canary" else 96, latency=0.9)
        for minute in range(100)
        for slot in ("canary", "stable-1", "stable-2")
    ]
    result = analyze(lines)
    assert result["verdict"] == "ABORT"
    assert outcome(result, "mean_seconds") == "failed"


# -- public reports: points of a minute each, repeated until there is a window ---------------------

_REPETITIONS = 20


def latency_lines(
    canary_ms: list[float], stable_ms: list[float], repetitions: int = _REPETITIONS
) -> Lines:
    """Lines whose requests of a minute all take the same time, in milliseconds."""
    lines = []
    for minute in range(len(canary_ms) * repetitions):
        for slot, points in (
            ("canary", canary_ms),
            ("stable-1", stable_ms),
            ("stable-2", stable_ms),
        ):
            requests = 48 if slot == "canary" else 96
            seconds = points[minute % len(points)] / 1000
            lines.append(
                make_line(
                    minute, slot, requests=requests, latency=seconds, seconds=seconds * requests
                )
            )
    return lines


def test_kayenta_426_sparse_errors_are_found() -> None:
    """A service that is usually without errors; the canary has some now and then."""
    experiment = [0, 1, 2, 1, 0, 0]
    assert not mann_whitney_is_high(np.array(experiment, dtype=float), np.zeros(6))
    result = analyze(make_lines(240, lambda minute: {"failures": experiment[minute % 6]}))
    assert result["verdict"] == "ABORT"


def test_kayenta_780_more_variance_of_the_stables_hides_no_slower_canary() -> None:
    """The first case of the report, with canary and stables exchanged as well."""
    steady = [10.0, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, *(17 + x / 10 for x in range(8))]
    wild = [1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17]
    # A canary with half of its minutes at 100 ms, beside stables of 10 to 18 ms.
    assert not mann_whitney_is_high(np.array(wild, dtype=float), np.array(steady))
    assert analyze(latency_lines([float(x) for x in wild], steady))["verdict"] == "ABORT"
    # A canary that is steadier and faster on average is no reason to abort.
    assert analyze(latency_lines(steady, [float(x) for x in wild]))["verdict"] == "PROMOTE"


def test_spinnaker_6278_a_few_points_far_out_are_seen() -> None:
    """Seven of ten points are a hundred times as slow, and Mann-Whitney passes them."""
    experiment, control = [100.0] * 7 + [1.0] * 3, [1.0] * 10
    assert not mann_whitney_is_high(np.array(experiment), np.array(control))
    assert analyze(latency_lines(experiment, control))["verdict"] == "ABORT"


def test_a_canary_that_is_slow_in_one_minute_of_twenty_is_aborted_before_the_deadline() -> None:
    experiment = [300.0 if minute % 20 == 7 else 3.0 for minute in range(720)]
    result = analyze(latency_lines(experiment, [3.0] * 720, repetitions=1))
    assert result["verdict"] == "ABORT"
    assert result["minute"] <= 360
    assert "guard" in result["reason"]


def test_slow_minutes_of_all_slots_are_no_reason_to_abort() -> None:
    # Below the edge's timeout, which is an absolute limit.
    points = [200.0 if minute % 20 == 7 else 3.0 for minute in range(400)]
    assert analyze(latency_lines(points, points, repetitions=1))["verdict"] != "ABORT"


def test_undecided_latency_says_how_many_requests_are_needed() -> None:
    canary, stables = [9.0, 1.0, 1.0, 14.0], [1.0]
    lines = latency_lines(canary, stables * 4, repetitions=20)
    (mean,) = (check for check in analyze(lines)["checks"] if check["name"] == "mean")
    assert mean["outcome"] == "undecided"
    assert mean["needed"] > 0


def test_a_share_of_slow_responses_that_no_bucket_gives_is_reported_as_skipped() -> None:
    lines = make_lines(100)
    for line in lines:
        line["buckets"] = {b: n for b, n in line["buckets"].items() if b != "0.25"}
    result = analyze(lines)
    (timeouts,) = (check for check in result["checks"] if check["name"] == "timeouts")
    assert timeouts["outcome"] == "skipped"
    assert "no bucket that all slots have ends at 250 ms" in timeouts["sentence"]
    assert result["verdict"] == "PROMOTE"


def test_one_minute_far_out_does_not_abort() -> None:
    experiment = [1.0] * 200
    experiment[50] = 900.0
    lines = latency_lines(experiment, [1.0] * 200, repetitions=1)
    assert analyze(lines)["verdict"] != "ABORT"
