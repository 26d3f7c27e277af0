"""Run all benchmarks one after another, each in a separate process.

A failed benchmark does not stop the others. One that cannot run on this machine prints the reason
and counts as passed. Exit status 1 when any failed or missed its target.

    python -m bench [--json] [--quick]
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from bench.requests.model import ROOT

#: Module -> its arguments, and those with `--quick`. The full training benchmarks take long and are
#: run by name.
BENCHES: dict[str, tuple[list[str], list[str]]] = {
    "ingest_throughput": ([], []),
    "id_repair": ([], ["--quick"]),
    "kafka_throughput": ([], ["--quick"]),
    "recent_activity": ([], ["--quick"]),
    "requests": ([], ["--quick"]),
    "requests_stack": ([], ["--quick"]),
    "provenance": (["--rows", "100000"], ["--quick"]),
    "quality_errors": (["--releases", "100"], ["--releases", "20"]),
    "quality_simulated": (["--releases", "50"], ["--releases", "3"]),
    "telemetry": ([], ["--quick"]),
    "console": ([], ["--quick"]),
    "training.quality": (["--quick"], ["--quick"]),
    "training.replay": (["--quick"], ["--quick"]),
    "training.scale": (["--quick"], ["--quick"]),
    "retrain": ([], ["--quick"]),
    "simulator_rate": ([], ["--quick"]),
    "simulator_cold_start": ([], ["--quick"]),
    "simulator_recent": ([], ["--quick"]),
    "fairness_rates": (["--quick"], ["--quick"]),
    "fairness_events": (["--quick"], ["--quick"]),
    "feedback_loop": (["--quick"], ["--quick"]),
}


def main() -> int:
    """Run all benchmarks, print their results and which failed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small and short")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name, (full, quick) in BENCHES.items():
        started = time.monotonic()
        print(f"==> {name}", file=sys.stderr, flush=True)
        status, output = _run(name, quick if arguments.quick else full, arguments.json)
        results[name] = {
            "passed": status == 0,
            "seconds": round(time.monotonic() - started),
            "result": output,
        }
    failed = [name for name, result in results.items() if not result["passed"]]
    if arguments.json:
        print(json.dumps(results))
    for name, result in results.items():
        print(f"{name}: {_verdict(result)} ({result['seconds']} s)", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, arguments: list[str], as_json: bool) -> tuple[int, Any]:
    """Run a benchmark; return its exit status and, with `as_json`, its output."""
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    if not as_json:
        return subprocess.run(command, cwd=ROOT, check=False).returncode, None
    process = subprocess.run(
        [*command, "--json"], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True
    )
    try:
        return process.returncode, json.loads(process.stdout)
    except ValueError:
        return process.returncode or 1, None


def _verdict(result: dict[str, Any]) -> str:
    return "passed" if result["passed"] else "failed, or missed a target"


if __name__ == "__main__":
    sys.exit(main())
