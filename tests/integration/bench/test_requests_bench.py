"""The request benchmark runs and gives its figures; no figure is judged here."""

import json
import subprocess
import sys

import pytest

from bench.requests import load
from tests.conftest import ROOT


@pytest.mark.slow
def test_the_quick_run_gives_every_figure() -> None:
    if reason := load.why_not():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "bench.requests", "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"what", "command", "machine", "ratios", "figures", "curve"}
    assert all(
        ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in result["ratios"].values()
    )
    assert set(result["figures"]) == {"start", "peak", "p50", "p99", "worker"}
    assert set(result["figures"]["peak"]) == {"constant", "constant-plain", "marquee", "naive"}
    assert [point["users"] for point in result["curve"]["users"]] == [1_000, 10_000]
