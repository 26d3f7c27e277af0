"""What a request costs beside plain peers: each figure a ratio from one run.

Writes docs/benchmarks-requests.md and its picture unless --quick. Needs the load generator:
`build/vegeta`, or a Docker engine with its image (`make images`).

    python -m bench.requests [--json] [--quick] [--rounds N] [--seconds N]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.requests import baseline_naive, curve, load, measure, report
from bench.requests.measure import Spread
from bench.requests.model import make_model

USERS, MOVIES = 1_000_000, 27_000
#: The naive way needs half a minute to learn these; a request costs the same with more users.
NAIVE_USERS = 10_000


def main() -> int:
    """Measure and print; exit status 1 when a target is missed (not judged with `--quick`)."""
    arguments = _arguments()
    if reason := load.why_not():
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    result = _quick() if arguments.quick else _whole(arguments.rounds, arguments.seconds)
    if not arguments.quick:
        curve.draw(result["curve"], report.PICTURE)
        report.write_page("requests", result)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['what']}\n")
        report.show(result)
    missed = [name for name, *_, met in report.targets(result["ratios"]) if not met]
    return 1 if missed and not arguments.quick else 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.requests", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--quick", action="store_true", help="small, short, no page; judges nothing"
    )
    parser.add_argument("--rounds", type=int, default=8, help="rounds of fresh servers (8)")
    parser.add_argument("--seconds", type=float, default=3, help="of load for each figure (3)")
    return parser.parse_args()


def _whole(rounds: int, seconds: float) -> dict[str, Any]:
    models = _models((USERS, MOVIES), (NAIVE_USERS, MOVIES))
    return {
        "what": f"{USERS:,} users, {MOVIES:,} movies (naive: {NAIVE_USERS:,} users), "
        f"{rounds} rounds, {seconds:g} s of load for each figure",
        "command": f"python -m bench.requests --rounds {rounds} --seconds {seconds:g}",
        **_figures(models, rounds, seconds),
        "curve": curve.curve(curve.USERS, curve.MOVIES),
    }


def _quick() -> dict[str, Any]:
    models = _models((100_000, MOVIES), (500, 1_000))
    return {
        "what": f"quick: 100,000 users, {MOVIES:,} movies (naive: 500 users, 1,000 movies)",
        "command": "python -m bench.requests --quick",
        **_figures(models, rounds=1, seconds=0.5),
        "curve": curve.curve(curve.USERS[:2], curve.MOVIES[:1]),
    }


def _models(ours: tuple[int, int], theirs: tuple[int, int]) -> dict[str, Path]:
    return {
        **dict.fromkeys(measure.PEERS, make_model(*ours)),
        "naive": baseline_naive.make_pickle(*theirs),
    }


def _figures(models: dict[str, Path], rounds: int, seconds: float) -> dict[str, Any]:
    samples = measure.rounds(models, rounds, seconds)
    worker = {
        name: Spread.of([measure.memory(models[name], name, seconds)]).rounded() for name in models
    }
    ratios = {
        f"{title}, marquee / constant": measure.ratio(samples, figure, "marquee").rounded()
        for title, figure in (
            ("peak", "peak"),
            ("p99 at half of that peak", "p99"),
            ("start to ready", "start"),
        )
    }
    return {
        "machine": report.machine(),
        "ratios": ratios | {"private memory of a second worker": worker["marquee"]},
        "figures": measure.summary(samples) | {"worker": worker},
    }


if __name__ == "__main__":
    sys.exit(main())
