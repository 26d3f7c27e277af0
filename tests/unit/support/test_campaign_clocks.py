"""The library that steps the wall clock of containers leaves waiting alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.campaign.clocks import get_environment, prepare, step

_PRINT_TIMES = """
import sys, threading, time
for line in sys.stdin:
    start = time.monotonic()
    time.sleep(0.01)
    threading.Event().wait(0.01)
    print(time.time(), time.monotonic() - start, flush=True)
"""


def test_a_clock_is_stepped_while_a_process_runs(tmp_path: Path) -> None:
    clocks = prepare(tmp_path)
    if clocks is None:
        pytest.skip("there is no C compiler on this host")
    process = subprocess.Popen(
        [sys.executable, "-c", _PRINT_TIMES], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, **get_environment(str(clocks), "shipper")},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    for seconds in (0, 3600, -3600, 0):
        step(clocks, "shipper", seconds)
        process.stdin.write("\n")
        process.stdin.flush()
        wall, waited = map(float, process.stdout.readline().split())
        assert wall - time.time() == pytest.approx(seconds, abs=600)
        assert 0.02 <= waited < 600
    process.communicate()
    assert process.returncode == 0
