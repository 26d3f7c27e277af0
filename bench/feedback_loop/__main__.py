"""Simulate retrainings on a recommender's own recommendations, and write tables and a picture.

Each part is one system with one seed: 30 simulated days of 1,000 visits, and a training each day
with the parameters of `params.yaml` and fewer ALS factors (16). The results of a part are kept in
build/feedback-loop, so that an interrupted run goes on where it was; parts of other code begin
anew. A full run writes docs/feedback-loop.png, and build/feedback-loop/tables.md with the tables of
docs/fairness.md.

    python -m bench.feedback_loop [--seeds N] [--processes N] [--quick] [--json]
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from bench.feedback_loop.page import draw, summarize, write_tables
from bench.feedback_loop.run import Size, run_part
from bench.feedback_loop.systems import ROOT, SYSTEMS, System

DIRECTORY = ROOT / "build" / "feedback-loop"
PICTURE = ROOT / "docs" / "feedback-loop.png"
_QUICK = Size(retrainings=3, visits=300, users=400)


def main() -> int:
    """Run all parts and print the tables."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.feedback_loop", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="simulations of each system")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="three retrainings of fewer users")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    size = _QUICK if arguments.quick else Size()
    directory = DIRECTORY / "quick" if arguments.quick else DIRECTORY
    seeds = range(1, arguments.seeds + 1)
    parts = _run_all([(system, seed) for seed in seeds for system in SYSTEMS], size,
                     directory, arguments.processes)  # fmt: skip
    summary = summarize(parts)
    tables = write_tables(summary)
    (directory / "tables.md").write_text(tables, encoding="utf-8")
    if not arguments.quick:
        draw(parts, PICTURE)
    print(json.dumps(summary) if arguments.json else tables)
    return 0


def _run_all(
    parts: list[tuple[System, int]], size: Size, directory: Path, processes: int
) -> list[dict[str, Any]]:
    """Run parts in processes, and print the progress to standard error."""
    started, results = time.monotonic(), []
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(run_part, system, seed, size, directory) for system, seed in parts]
        for future in as_completed(running):
            result = future.result()
            results.append(result)
            print(
                f"{len(results)} of {len(parts)} parts after {time.monotonic() - started:.0f} s: "
                f"{result['system']}, seed {result['seed']}, {result['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return results


if __name__ == "__main__":
    sys.exit(main())
