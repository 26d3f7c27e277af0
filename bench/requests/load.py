"""The load: vegeta on a core of its own, against loopback alone.

`peak` keeps a fixed number of connections busy, each asking again as soon as it was answered;
`constant_rate` sends on time whether or not earlier requests were answered.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.requests.servers import cores
from tests.support.load import binary

#: Connections kept busy while the peak is measured.
CONNECTIONS = 32
#: Connections at most at a constant rate: as many as NGINX keeps to the slots. A request that has
#: to wait for one waits within its latency. Without a bound a stall of the machine makes the
#: generator open a thousand.
AT_MOST = 64


def peak(url: str, users: Iterable[int], seconds: float) -> float:
    """Requests answered with 200 a second, at saturation."""
    report = _attack(url, users, seconds, ["-rate=0", f"-max-workers={CONNECTIONS}"])
    answered: float = report["throughput"]
    return answered


def constant_rate(url: str, users: Iterable[int], seconds: float, rate: float) -> dict[str, float]:
    """Milliseconds: `p50` and `p99` of requests sent at this rate."""
    how = [f"-rate={round(rate)}", f"-max-connections={AT_MOST}"]
    latencies = _attack(url, users, seconds, how)["latencies"]
    return {"p50": latencies["50th"] / 1e6, "p99": latencies["99th"] / 1e6}


def _attack(url: str, users: Iterable[int], seconds: float, how: list[str]) -> dict[str, Any]:
    assert url.startswith("http://127.0.0.1:"), "load is aimed at loopback alone"
    program, core = str(binary()), str(cores()[1])
    with tempfile.TemporaryDirectory(prefix="marquee-load-") as folder:
        targets, results = Path(folder) / "targets", Path(folder) / "results"
        targets.write_text("".join(f"GET {url}/recommend/{user}\n" for user in users))
        attack = ["attack", *how, f"-targets={targets}", f"-duration={seconds}s"]
        limits = ["-timeout=30s", "-redirects=0", "-max-body=0", f"-output={results}"]
        subprocess.run(["taskset", "--cpu-list", core, program, *attack, *limits], check=True)
        done = subprocess.run(
            [program, "report", "-type=json", str(results)], check=True, capture_output=True
        )
    report: dict[str, Any] = json.loads(done.stdout)
    if report["success"] < 1:
        raise SystemExit(f"requests failed: {report['status_codes']}, {report['errors'][:3]}")
    return report


def why_not() -> str | None:
    """Why no load can be made here; None where it can."""
    try:
        binary()
    except (OSError, subprocess.CalledProcessError):
        return "no load generator: build/vegeta is missing, and Docker has no image to take it from"
    return None
