"""Simulate releases and count how often the verdict is wrong.

The counts of each cell are kept in build/curves after each batch of 100 releases, so that an
interrupted run goes on where it was; those of other limits or of another method begin anew. Writes
build/curves/table.md and curves.png; a run over all cells with all of their releases also writes
docs/operating-curves.md and docs/operating-curves.png, as `--page` does of what there is.

    python -m bench.operating_curves [--cells TEXT] [--releases N] [--processes N] [--list] [--page]
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path

from app.canary_analysis.limits import Limits
from bench.operating_curves.cells import RELEASES, Cell, list_cells
from bench.operating_curves.run import Counts, read_cell, run_cell
from bench.operating_curves.table import Results, draw, write_page, write_table

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "build" / "curves"
PAGE, PICTURE = ROOT / "docs" / "operating-curves.md", ROOT / "docs" / "operating-curves.png"


def main() -> int:
    """Compute the chosen cells and print the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        "python -m bench.operating_curves", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--cells", default="", help="only cells whose name contains this text")
    parser.add_argument("--releases", type=int, help="releases of each cell (default: by group)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="print the names of the cells")
    parser.add_argument("--page", action="store_true", help="write the page of what is stored")
    arguments = parser.parse_args()
    cells = [cell for cell in list_cells() if arguments.cells in cell.name]
    if arguments.list or not cells:
        print(*(cell.name for cell in cells), sep="\n")
        return 0 if cells else 2
    if arguments.page:
        stored = [(cell, read_cell(cell, DIRECTORY, Limits())) for cell in cells]
        _write_page([(cell, counts) for cell, counts in stored if counts.releases])
        return 0
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    numbers = {cell.name: arguments.releases or RELEASES[cell.group] for cell in cells}
    counts = _run_all(cells, numbers, arguments.processes)
    results = [(cell, counts[cell.name]) for cell in cells]
    table = write_table(results)
    (DIRECTORY / "table.md").write_text(table)
    draw(results, DIRECTORY / "curves.png")
    if not arguments.cells and arguments.releases is None:
        _write_page(results)
    print(table, end="")
    return 0


def _write_page(results: Results) -> None:
    PAGE.write_text(write_page(results), encoding="utf-8")
    draw(results, PICTURE)


def _run_all(cells: list[Cell], numbers: dict[str, int], processes: int) -> dict[str, Counts]:
    """Compute cells in parallel and print the progress to standard error."""
    started, done = time.monotonic(), 0
    results = {}
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(_run, cell, numbers[cell.name]): cell for cell in cells}
        for future in as_completed(running):
            name = running[future].name
            results[name] = future.result()
            done += numbers[name]
            passed = time.monotonic() - started
            left = timedelta(seconds=round(passed * (sum(numbers.values()) / done - 1)))
            print(
                f"{len(results)} of {len(cells)} cells, about {left} left: {name},"
                f" {results[name].seconds:.0f} s of processor time",
                file=sys.stderr,
                flush=True,
            )
    return results


def _run(cell: Cell, releases: int) -> Counts:
    return run_cell(cell, releases, DIRECTORY, Limits())


if __name__ == "__main__":
    sys.exit(main())
