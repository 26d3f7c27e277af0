"""The release's evaluation: bash, `marquee analyze` and a real Prometheus together."""

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.backfilled_prometheus import serve

#: Seconds of a window; scrapes each second.
WINDOW = 60
SLOTS = {"canary": 7, "stable-1": 6, "stable-2": 6}
ROUTE = "/recommend/<user_id>"
BOUNDS = ("0.001", "0.005", "0.01", "0.25", "+Inf")
EVALUATE = """
CODE_DIR=$1 IMAGE_NAME=marquee
for file in lib release/settings release/state release/analysis; do
    source "$CODE_DIR/scripts/$file.sh"
done
load_settings
evaluate "$2"
"""


def count(
    series: dict[str, Any],
    start: int,
    slot: str,
    failing: float = 0,
    status: str = "500",
    is_old: bool = False,
) -> None:
    """Add the series of a slot with 10 requests a second, 20 if it is a stable one, in 3 ms."""
    rate = 10 if slot == "canary" else 20
    job = f'job="marquee",slot="{slot}",role="{"canary" if slot == "canary" else "stable"}"'
    own = f'{job},version="{SLOTS[slot]}"'
    http, labels = "flask_http_request_duration_seconds", f'{own},url_rule="{ROUTE}"'
    for second in range(-5, WINDOW + 3):
        time_, total = start + second, rate * (second + 5)
        failed = int(failing * total)
        ok = total - failed
        series["up"][job][time_] = 1
        series[f"{http}_count"][f'{labels},status="200"'][time_] = ok
        series[f"{http}_count"][f'{labels},status="{status}"'][time_] = failed
        series[f"{http}_sum"][f'{labels},status="200"'][time_] = 0.003 * ok
        for bound in BOUNDS:
            value = ok if bound == "+Inf" or float(bound) > 0.003 else 0
            series[f"{http}_bucket"][f'{labels},status="200",le="{bound}"'][time_] = value
        series["marquee_recommendations_total"][f'{job},source="personal"'][time_] = ok
        if not is_old:
            for reason in ("absent", "damaged"):
                unused = series["marquee_recent_unused_total"][f'{job},reason="{reason}"']
                unused[time_] = ok // 2
            series["marquee_requests_started_total"][own][time_] = total


@pytest.fixture(scope="module")
def start() -> int:
    return int(time.time()) - WINDOW - 10


@pytest.fixture(scope="module")
def url(start: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with a canary like the stable slots, which run an older build."""
    series: dict[str, Any] = defaultdict(lambda: defaultdict(dict))
    for slot in SLOTS:
        count(series, start, slot, is_old=slot != "canary")
    with serve(tmp_path_factory.mktemp("prometheus"), series) as address:
        yield address


def evaluate(directory: Path, url: str, start: int, kind: str, **settings: str) -> dict[str, Any]:
    """Run the function of the release script in a directory with a state."""
    state = {"id": "1", "version": "7", "analysis_started_at": start, "phase": "analyzing"}
    state["analysis_deadline"] = start + WINDOW
    (directory / "data" / "release").mkdir(parents=True, exist_ok=True)
    (directory / "data" / "release" / "state.json").write_text(json.dumps(state))
    marquee = directory / "marquee"
    marquee.write_text('#!/bin/sh\nexec python -m app "$@"\n')
    marquee.chmod(0o755)
    environment = {
        **os.environ,
        "RELEASE_PROMETHEUS_URL": url,
        "RELEASE_MARQUEE": str(marquee),
        "RELEASE_SCRAPE_INTERVAL_SECONDS": "1",
        "RELEASE_GUARD_INTERVAL": "5s",
        "RELEASE_MAX_BURST_DURATION": "5s",
        "RELEASE_MIN_REQUESTS": "500",
        "RELEASE_FAILURE_MARGIN": "0.05",
        "RELEASE_FAILURE_TOLERANCE": "0.01",
        **settings,
    }
    done = subprocess.run(
        ["bash", "-Eeuo", "pipefail", "-c", EVALUATE, "bash", str(ROOT), kind],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_good_canary_beside_an_older_build_is_promoted(
    url: str, start: int, tmp_path: Path
) -> None:
    result = evaluate(tmp_path, url, start, "verdict")
    assert result["verdict"] == "PROMOTE", result
    checks = {check["name"]: check for check in result["checks"]}
    assert result["checks"][0]["name"] == "prometheus_mean_seconds"
    assert checks["prometheus_mean_seconds"]["value"] == pytest.approx(0.003)
    assert checks["requests"]["value"] == 600
    assert checks["traffic_share"]["value"] == pytest.approx(0.2)
    assert checks["unanswered"]["outcome"] == "skipped"
    assert "the stables do not export it" in checks["unanswered"]["sentence"]
    assert checks["recent_unused"]["outcome"] == "skipped"
    again = subprocess.run(
        ["python", "-m", "app", "analyze", "--replay", "1", "--set", "min_requests=601"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    assert json.loads(again.stdout)["verdict"] == "INCONCLUSIVE"


def test_each_limit_of_the_settings_reaches_the_analysis(
    url: str, start: int, tmp_path: Path
) -> None:
    few = evaluate(tmp_path, url, start, "verdict", RELEASE_MIN_REQUESTS="601")
    assert few["verdict"] == "INCONCLUSIVE"
    assert "number of canary requests 600, must be at least 601" in few["reason"]
    slow = evaluate(tmp_path, url, start, "verdict", RELEASE_MAX_MEAN_SECONDS="0.003")
    assert slow["verdict"] == "ABORT"
    assert slow["reason"].startswith("mean latency")


def test_a_guard_after_the_deadline_decides_nothing(url: str, start: int, tmp_path: Path) -> None:
    assert evaluate(tmp_path, url, start, "guard")["verdict"] == "CONTINUE"


@pytest.mark.parametrize(
    ("status", "share"), [("500", "failed requests"), ("400", "client errors (4xx)")]
)
def test_a_failing_canary_is_aborted_by_a_guard(
    status: str, share: str, start: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    series: dict[str, Any] = defaultdict(lambda: defaultdict(dict))
    for slot in SLOTS:
        count(series, start, slot, failing=0.3 if slot == "canary" else 0.001, status=status)
    with serve(tmp_path_factory.mktemp("prometheus"), series) as address:
        result = evaluate(tmp_path, address, start, "guard")
    assert result["verdict"] == "ABORT"
    assert result["reason"].startswith("guard in minute ")
    assert f"share of {share}" in result["reason"]


def test_the_defaults_of_the_settings_are_those_of_the_analysis() -> None:
    from app.canary_analysis.limits import Limits  # noqa: PLC0415

    settings = {}
    for line in (ROOT / "scripts" / "release" / "settings.env").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings[name.removeprefix("RELEASE_").lower()] = value
    durations = {"guard_window": "5m", "max_burst_minutes": "10m"}
    assert settings["guard_window"] == durations["guard_window"]
    assert settings["max_burst_duration"] == durations["max_burst_minutes"]
    assert (Limits().guard_window, Limits().max_burst_minutes) == (5, 10)
    shared = set(settings) & set(vars(Limits())) - set(durations)
    assert len(shared) == 24
    assert {name: float(settings[name]) for name in shared} == {
        name: float(getattr(Limits(), name)) for name in shared
    }
