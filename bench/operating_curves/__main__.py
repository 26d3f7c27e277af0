"""Simulate releases and count how often the verdict is wrong.

Each cell of the table is kept in build/curves after each batch, so that an interrupted run goes on
where it was. The table is printed and, if all cells are complete, written to docs.

    python -m bench.operating_curves [--cells TEXT] [--releases N] [--processes N] [--list]
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from app.canary_analysis.limits import Limits
from bench.operating_curves.cells import RELEASES, Cell, list_cells
from bench.operating_curves.run import Counts, run_cell
from bench.operating_curves.table import draw, write_table

DIRECTORY = Path("build/curves")
TABLE, PICTURE = Path("build/curves/table.md"), Path("build/curves/curves.png")


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
    arguments = parser.parse_args()
    cells = [cell for cell in list_cells() if arguments.cells in cell.name]
    if arguments.list or not cells:
        print(*(cell.name for cell in cells), sep="\n")
        return 0 if cells else 2
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    numbers = [arguments.releases or RELEASES[cell.group] for cell in cells]
    with ProcessPoolExecutor(arguments.processes) as pool:
        results = []
        for cell, counts in zip(cells, pool.map(_run, cells, numbers), strict=True):
            results.append((cell, counts))
            print(f"{cell.name}: {counts.seconds:.0f} s", file=sys.stderr, flush=True)
    table = write_table(results)
    TABLE.write_text(table)
    draw(results, PICTURE)
    print(table, end="")
    return 0


def _run(cell: Cell, releases: int) -> Counts:
    return run_cell(cell, releases, DIRECTORY, Limits())


if __name__ == "__main__":
    sys.exit(main())
