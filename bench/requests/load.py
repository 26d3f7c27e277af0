"""The load generator: vegeta on a separate core, against the loopback interface only.

`peak` keeps a fixed number of connections busy (closed loop); `constant_rate` sends requests on
schedule, whether or not earlier ones have completed (open loop).
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.requests.servers import cores
from tests.support.load import binary

#: Busy connections while the peak is measured.
PEAK_CONNECTIONS = 32
#: Maximum number of connections at a constant rate: as many as NGINX keeps to the slots. Waiting
#: for a free one counts as latency. Without a limit a stall of the machine opens a thousand.
MAX_CONNECTIONS = 64


def peak(url: str, users: Iterable[int], seconds: float) -> float:
    """Successful requests per second at saturation."""
    report = _attack(url, users, seconds, ["-rate=0", f"-max-workers={PEAK_CONNECTIONS}"])
    throughput: float = report["throughput"]
    return throughput


def constant_rate(url: str, users: Iterable[int], seconds: float, rate: float) -> dict[str, float]:
    """Latency at a constant rate in requests per second: `p50_ms` and `p99_ms`."""
    options = [f"-rate={round(rate)}", f"-max-connections={MAX_CONNECTIONS}"]
    latencies = _attack(url, users, seconds, options)["latencies"]
    return {"p50_ms": latencies["50th"] / 1e6, "p99_ms": latencies["99th"] / 1e6}


def _attack(url: str, users: Iterable[int], seconds: float, options: list[str]) -> dict[str, Any]:
    assert url.startswith("http://127.0.0.1:"), "load is sent to the loopback interface only"
    program, core = str(binary()), str(cores()[1])
    with tempfile.TemporaryDirectory(prefix="marquee-load-") as folder:
        targets, results = Path(folder) / "targets", Path(folder) / "results"
        targets.write_text("".join(f"GET {url}/recommend/{user}\n" for user in users))
        attack = ["attack", *options, f"-targets={targets}", f"-duration={seconds}s"]
        limits = ["-timeout=30s", "-redirects=0", "-max-body=0", f"-output={results}"]
        subprocess.run(["taskset", "--cpu-list", core, program, *attack, *limits], check=True)
        process = subprocess.run(
            [program, "report", "-type=json", str(results)], check=True, capture_output=True
        )
    report: dict[str, Any] = json.loads(process.stdout)
    if report["success"] < 1:
        raise SystemExit(f"requests failed: {report['status_codes']}, {report['errors'][:3]}")
    return report


def skip_reason() -> str | None:
    """Why no load can be generated here; None if it can."""
    try:
        binary()
    except (OSError, subprocess.CalledProcessError):
        return "no load generator: neither build/vegeta nor its Docker image exists"
    return None
