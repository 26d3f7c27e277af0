"""The request benchmark runs and returns every measurement; values are not checked."""

import json
import subprocess
import sys

import pytest

from bench.requests import load
from tests.conftest import ROOT


@pytest.mark.slow
def test_a_quick_run_returns_every_measurement() -> None:
    if reason := load.skip_reason():
        pytest.skip(reason)
    process = subprocess.run(
        [sys.executable, "-m", "bench.requests", "--quick", "--json", "--before", str(ROOT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert set(result) == {"setup", "command", "machine", "ratios", "measurements", "curve"}
    assert "peak, no user with recent events / before" in result["ratios"]
    assert all(
        ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in result["ratios"].values()
    )
    assert set(result["measurements"]) == {
        "start_seconds", "peak_rps", "p50_ms", "p99_ms", "worker_mb",
    }  # fmt: skip
    servers = {
        "constant", "constant-plain", "marquee", "marquee-recent", "marquee-off", "naive", "before",
    }  # fmt: skip
    assert set(result["measurements"]["peak_rps"]) == servers
    assert [point["users"] for point in result["curve"]["users"]] == [1_000, 10_000]
