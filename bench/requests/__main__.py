"""Cost of a request compared with baselines; every ratio is measured in one run.

Writes docs/benchmarks-requests.md and its plot unless --quick. Needs the load generator:
`build/vegeta`, or a Docker engine with its image (`make images`).

    python -m bench.requests [--json] [--quick] [--rounds N] [--seconds N]
"""

import argparse
import json
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
    result = _run_quick() if arguments.quick else _run(arguments.rounds, arguments.seconds)
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
    return parser.parse_args()


def _run(rounds: int, seconds: float) -> dict[str, Any]:
    models = _make_models((USERS, MOVIES), (NAIVE_USERS, MOVIES))
    return {
        "setup": f"{USERS:,} users, {MOVIES:,} movies (naive: {NAIVE_USERS:,} users), "
        f"{rounds} rounds, {seconds:g} s of load for each measurement",
        "command": f"python -m bench.requests --rounds {rounds} --seconds {seconds:g}",
        **_measure(models, models, rounds, seconds),
        "curve": curve.measure_curve(curve.USERS, curve.MOVIES),
    }


def _run_quick() -> dict[str, Any]:
    models = _make_models((10_000, MOVIES), (500, 1_000))
    return {
        "setup": f"quick: 10,000 users, {MOVIES:,} movies (naive: 500 users, 1,000 movies)",
        "command": "python -m bench.requests --quick",
        **_measure(models, ("marquee", "marquee-recent"), rounds=1, seconds=0.2, latency_runs=1),
        "curve": curve.measure_curve(curve.USERS[:2], curve.MOVIES[:1], rounds=1),
    }


def _make_models(size: tuple[int, int], naive_size: tuple[int, int]) -> dict[str, Path]:
    """Model directory of each server; the sizes are (users, movies)."""
    return {
        **dict.fromkeys(measure.SERVERS, make_model(*size)),
        "naive": baseline_naive.make_model(*naive_size),
    }


def _measure(
    models: dict[str, Path],
    in_two_workers: Iterable[str],
    rounds: int,
    seconds: float,
    latency_runs: int = 3,
) -> dict[str, Any]:
    inputs = measure.Inputs(models, recent.make_files(models["marquee"], MOVIES))
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
    return {
        "machine": report.machine(),
        "ratios": ratios | {"private memory of a second worker": worker_mb["marquee"]},
        "measurements": measure.summarize(samples) | {"worker_mb": worker_mb},
    }


if __name__ == "__main__":
    sys.exit(main())
