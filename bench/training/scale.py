"""Time and peak memory of each stage of `marquee train`, by number of events.

    python -m bench.training.scale [--quick | --growth | --largest] [--directory DIR] [--json]

Each size is generated, trained, verified and served in processes of their own. Half of the events
are ratings. Peak memory is the highest resident size, reset at the start of each stage; pages of
mapped files are included. Writes docs/benchmarks-training.md.

--quick measures the smallest size only and writes no page. --largest measures 100,000,000 events of
1,000,000 users and 27,000 movies as well. --growth varies events, users and movies one at a time,
fits the exponents, and writes docs/benchmarks-growth.md with its picture.

With --directory, generated tables and the result of each size are kept in it; a bench that was
interrupted goes on with the size that was not finished.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.atomic_files import staged_directory, write_file
from bench.training.growth import growth_page, write_picture
from bench.training.page import describe_machine, scale_page
from bench.training.processes import ROOT, run_python
from tests.support.service import serving

DOCS = ROOT / "docs"
#: What is kept of the summary of `marquee train`.
_KEPT = ("data", "seconds", "cpu_seconds", "peak_mb", "metrics")


@dataclass(frozen=True)
class Size:
    """Size of the generated data."""

    events: int
    users: int
    movies: int


SIZES = (
    Size(100_000, 10_000, 5_000),
    Size(1_000_000, 100_000, 15_000),
    Size(10_000_000, 1_000_000, 27_000),
)
LARGEST = Size(100_000_000, 1_000_000, 27_000)
#: The first size, and others that differ from it in one number.
GROWTH = (
    Size(500_000, 50_000, 8_000),
    Size(250_000, 50_000, 8_000),
    Size(1_000_000, 50_000, 8_000),
    Size(2_000_000, 50_000, 8_000),
    Size(500_000, 25_000, 8_000),
    Size(500_000, 100_000, 8_000),
    Size(500_000, 50_000, 4_000),
    Size(500_000, 50_000, 16_000),
)


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="the smallest size only, no page")
    sizes.add_argument("--growth", action="store_true", help="fit exponents, write their page")
    sizes.add_argument("--largest", action="store_true", help="100,000,000 events as well")
    parser.add_argument("--directory", type=Path, help="keep tables and results, to resume")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    chosen: tuple[Size, ...] = SIZES[:1] if options.quick else GROWTH if options.growth else SIZES
    if options.largest:
        chosen = (*SIZES, LARGEST)
    with ExitStack() as stack:
        directory = options.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-"))
        )
        directory.mkdir(parents=True, exist_ok=True)
        runs = [{**asdict(size), **measure(size, directory)} for size in chosen]
    result = {"machine": describe_machine(), "runs": runs}
    page = growth_page(runs) if options.growth else scale_page(result)
    if options.growth:
        (DOCS / "benchmarks-growth.md").write_text(page, encoding="utf-8")
        write_picture(runs, DOCS / "training-growth.png")
    elif not options.quick:
        (DOCS / "benchmarks-training.md").write_text(page, encoding="utf-8")
    print(json.dumps(result) if options.json else page)
    return 0


def measure(size: Size, directory: Path) -> dict[str, Any]:
    """Return the summary of training one size, and what verifying the model takes.

    Tables and a result that are in the directory already are used.
    """
    name = f"{size.events}-{size.users}-{size.movies}"
    result, tables, model = (directory / f"{name}{end}" for end in (".json", "-tables", "-model"))
    if result.exists():
        print(f"{size.events:,} events: measured already", file=sys.stderr)
        done: dict[str, Any] = json.loads(result.read_bytes())
        return done
    print(f"{size.events:,} events", file=sys.stderr)
    if not tables.exists():
        with staged_directory(tables) as staged:
            numbers = [str(n) for n in (size.events, size.users, size.movies)]
            run_python("bench.training.events", str(staged), *numbers)
    given = [f"--{table}={tables}/{table}.parquet" for table in ("ratings", "watches", "movies")]
    start = time.perf_counter()
    training = run_python("app", "train", *given, "--out", str(model), "--json")
    found: dict[str, Any] = {"command_seconds": round(time.perf_counter() - start, 1)}
    summary = json.loads(training.output)
    found |= {key: summary[key] for key in _KEPT}
    found |= {"all_mb": training.peak_mb, "anonymous_mb": training.peak_anonymous_mb}
    files = [path for path in model.rglob("*") if path.is_file()]
    found["model_mb"] = round(sum(path.stat().st_size for path in files) / 1e6)
    start = time.perf_counter()
    run_python("app", "verify", str(model))
    found["verify_seconds"] = round(time.perf_counter() - start, 1)
    _check_service(model, directory, size.users)
    write_file(result, json.dumps(found).encode())
    shutil.rmtree(tables)
    shutil.rmtree(model)
    return found


def _check_service(model: Path, directory: Path, users: int) -> None:
    """Serve the model and check that the last user gets a list of 20 movies."""
    with serving(model, directory) as server:
        answer = server.get(f"/recommend/{users - 1}")
    assert answer.ok, answer.text
    assert answer.text.count(",") == 19, answer.text


if __name__ == "__main__":
    sys.exit(main())
