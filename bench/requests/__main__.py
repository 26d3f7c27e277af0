"""Cost of a request compared with baselines; every ratio is measured in one run.

Writes docs/benchmarks-requests.md and its plot unless --quick. Needs the load generator:
`build/vegeta`, or a Docker engine with its image (`make images`).

    python -m bench.requests [--json] [--quick] [--rounds N] [--seconds N] [--before CLONE]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.requests import baseline_naive, curve, load, measure, recent, report
from bench.requests.measure import Spread
from bench.requests.model import make_model

USERS, MOVIES = 1_000_000, 27_000
#: Training the naive baseline with these takes half a minute; its requests cost the same with more.
NAIVE_USERS = 10_000


def main() -> int:
    """Measure and print; exit status 1 when a target is missed (not checked with `--quick`)."""
    arguments = _parse_arguments()
    if reason := load.skip_reason():
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    if arguments.quick:
        result = _run_quick(arguments.before)
    else:
        result = _run(arguments.rounds, arguments.seconds, arguments.before)
    if not arguments.quick:
        curve.plot(result["curve"], report.PLOT)
        report.write_page("requests", result)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['setup']}\n")
        report.print_tables(result)
    missed = [name for name, *_, met in report.targets(result["ratios"]) if not met]
    return 1 if missed and not arguments.quick else 0


def _parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.requests", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--quick", action="store_true", help="small and short, writes no page, checks no target"
    )
    parser.add_argument("--rounds", type=int, default=8, help="rounds with new servers (8)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="seconds of load for each measurement (3)"
    )
    parser.add_argument(
        "--before", type=Path, metavar="CLONE", help="also serve with the code of another clone"
    )
    return parser.parse_args()


def _run(rounds: int, seconds: float, before: Path | None) -> dict[str, Any]:
    models = _make_models((USERS, MOVIES), (NAIVE_USERS, MOVIES), before)
    return {
        "setup": f"{USERS:,} users, {MOVIES:,} movies (naive: {NAIVE_USERS:,} users), "
        f"{rounds} rounds, {seconds:g} s of load for each measurement{_describe(before)}",
        "command": f"python -m bench.requests --rounds {rounds} --seconds {seconds:g}"
        f"{' --before CLONE' if before else ''}",
        **_measure(models, before, models, rounds, seconds),
        "curve": curve.measure_curve(curve.USERS, curve.MOVIES),
    }


def _run_quick(before: Path | None) -> dict[str, Any]:
    models = _make_models((10_000, MOVIES), (500, 1_000), before)
    in_two_workers = ("marquee", "marquee-recent")
    return {
        "setup": f"quick: 10,000 users, {MOVIES:,} movies (naive: 500 users, 1,000 movies)"
        f"{_describe(before)}",
        "command": "python -m bench.requests --quick",
        **_measure(models, before, in_two_workers, rounds=1, seconds=0.2, latency_runs=1),
        "curve": curve.measure_curve(curve.USERS[:2], curve.MOVIES[:1], rounds=1),
    }


def _describe(before: Path | None) -> str:
    if before is None:
        return ""
    describe = ["git", "-C", str(before), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(describe, check=True, capture_output=True, text=True).stdout
    return f"; before: commit {commit.strip()}"


def _make_models(
    size: tuple[int, int], naive_size: tuple[int, int], before: Path | None
) -> dict[str, Path]:
    """Model directory of each server; the sizes are (users, movies)."""
    models = {
        **dict.fromkeys(measure.SERVERS, make_model(*size)),
        "naive": baseline_naive.make_model(*naive_size),
    }
    if before:  # the same lists, in the format of that code
        code = f"from bench.requests.model import make_model; print(make_model{size})"
        command = [sys.executable, "-c", code]
        made = subprocess.run(command, cwd=before, check=True, stdout=subprocess.PIPE, text=True)
        models["before"] = Path(made.stdout.strip())
    return models


def _measure(
    models: dict[str, Path],
    before: Path | None,
    in_two_workers: Iterable[str],
    rounds: int,
    seconds: float,
    latency_runs: int = 3,
) -> dict[str, Any]:
    inputs = measure.Inputs(models, recent.make_files(models["marquee"], MOVIES), before)
    samples = measure.run_rounds(inputs, rounds, seconds, latency_runs)
    worker_mb = {
        name: Spread.of([measure.worker_memory_mb(inputs, name, seconds)]).rounded()
        for name in in_two_workers
    }
    ratios = {
        f"{title}, marquee / constant": measure.ratio(samples, metric, "marquee").rounded()
        for title, metric in (
            ("peak", "peak_rps"),
            ("p99 at half of that peak", "p99_ms"),
            ("start to ready", "start_seconds"),
        )
    }
    ratios |= {
        "peak, no user with recent events / switched off": measure.ratio(
            samples, "peak_rps", "marquee", "marquee-off"
        ).rounded(),
        "peak, everybody with eight recent movies / constant": measure.ratio(
            samples, "peak_rps", "marquee-recent"
        ).rounded(),
        "p99 at half of that peak, everybody with eight recent movies / constant": measure.ratio(
            samples, "p99_ms", "marquee-recent"
        ).rounded(),
        "private memory of a second worker, everybody with eight recent movies": worker_mb[
            "marquee-recent"
        ],
    }
    if before:
        ratios["peak, no user with recent events / before"] = measure.ratio(
            samples, "peak_rps", "marquee", "before"
        ).rounded()
    return {
        "machine": report.machine(),
        "ratios": ratios | {"private memory of a second worker": worker_mb["marquee"]},
        "measurements": measure.summarize(samples) | {"worker_mb": worker_mb},
    }


if __name__ == "__main__":
    sys.exit(main())
