"""Time and peak memory of each stage of `marquee train`, by number of events.

    python -m bench.training.scale [--quick] [--json]

Each size is generated and trained in processes of their own. Half of the events are ratings. The
largest has 1,000,000 users, each with a list, and 27,000 movies. Peak memory is the highest
resident size, reset at the start of each stage; pages of mapped files are included. --quick
measures the smallest size only and does not write docs/benchmarks-training.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.training.page import describe_machine, scale_page

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Size:
    """Size of the generated data."""

    events: int
    users: int
    movies: int


SIZES = (
    Size(100_000, 10_000, 5_000),
    Size(2_000_000, 200_000, 20_000),
    Size(10_000_000, 1_000_000, 27_000),
)


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest size only, no page")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    runs = []
    for size in SIZES[:1] if options.quick else SIZES:
        print(f"{size.events:,} events", file=sys.stderr)
        runs.append({**asdict(size), **measure(size)})
    result = {"machine": describe_machine(), "runs": runs}
    page = scale_page(result)
    if not options.quick:
        (ROOT / "docs" / "benchmarks-training.md").write_text(page, encoding="utf-8")
    print(json.dumps(result) if options.json else page)
    return 0


def measure(size: Size) -> dict[str, Any]:
    """Generate events, train, and return the command's summary."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as directory:
        numbers = [str(n) for n in (size.events, size.users, size.movies)]
        _python("bench.training.events", directory, *numbers)
        tables = [f"--{name}={directory}/{name}.parquet" for name in ("ratings", "watches")]
        arguments = [
            "--movies",
            f"{directory}/movies.parquet",
            "--out",
            f"{directory}/model",
            "--json",
        ]
        summary: dict[str, Any] = json.loads(_python("app", "train", *tables, *arguments))
        files = [path for path in (Path(directory) / "model").rglob("*") if path.is_file()]
        summary["model_mb"] = round(sum(path.stat().st_size for path in files) / 1e6)
    return {key: summary[key] for key in ("data", "seconds", "peak_mb", "model_mb", "metrics")}


def _python(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
