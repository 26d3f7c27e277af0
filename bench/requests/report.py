"""The figures as a table for people, and as the page `docs/benchmarks-requests.md`."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from bench.requests.model import BUILD, ROOT

PAGE = ROOT / "docs" / "benchmarks-requests.md"
PICTURE = ROOT / "docs" / "request-time.png"
STACK = "peak through NGINX and three slots, marquee / constant"

_INTRODUCTION = """# What a request costs

Written by `python -m bench.requests --docs` and `python -m bench.requests_stack --docs`
(`make bench` measures without writing). Every ratio is of pairs measured in turn in one run: the
median, and the range over all rounds in brackets. The peers:

- **constant**: one answer of the same length, whoever asks; the same Flask, the same gunicorn
  configuration (one worker), prometheus-flask-exporter as its documentation sets it up.
- **constant-plain**: the same without metrics.
- **naive**: a Surprise SVD, unpickled; each request predicts every film and sorts.
- **marquee**: `marquee serve`. Users are drawn uniformly among those who have lists of their own;
  no answer is kept. The lists are random, film ids are like the stream's.

Servers run on one core, the load (vegeta) on another.
"""


def machine() -> dict[str, Any]:
    """Where the figures are from."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model.group(1) if model else platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def targets(ratios: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Name, figure, target and whether it is met, of everything that has a target."""
    rows = []
    for name, unit, low, limit in (
        ("peak, marquee / constant", "", True, 0.9),
        ("p99 at half of that peak, marquee / constant", "", False, 1.5),
        ("private memory of a second worker", " MB", False, 60),
        ("start to ready, marquee / constant", "", False, 1.5),
        (STACK, "", True, 0.9),
    ):
        if name in ratios:
            value = ratios[name]["median"]
            met = value >= limit if low else value <= limit
            target = f"{'at least' if low else 'at most'} {limit:g}{unit}"
            rows.append((name, f"{spread(ratios[name])}{unit}", target, met))
    return rows


def spread(figure: dict[str, float]) -> str:
    """`median (low to high)`."""
    shown = [_number(figure[name]) for name in ("median", "low", "high")]
    return shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _number(value: float) -> str:
    """Three digits that count, none of them as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def tables(result: dict[str, Any]) -> list[list[list[str]]]:
    """Every table of a result, the first row of each its head."""
    rows = targets(result["ratios"])
    found = [
        [["figure", "measured", "target", ""]]
        + [[*row[:3], "met" if row[3] else "MISSED"] for row in rows]
    ]
    if "figures" in result:
        found.append(_peers(result["figures"]))
    if "curve" in result:
        found.append(_curve(result["curve"]))
    return found


def _peers(figures: dict[str, dict[str, Any]]) -> list[list[str]]:
    columns = {
        "peak": "requests/s",
        "p50": "p50 ms",
        "p99": "p99 ms",
        "start": "start to ready, s",
        "worker": "a second worker, MB",
    }
    columns = {column: title for column, title in columns.items() if column in figures}
    rows = [["peer", *columns.values()]]
    for name in figures["peak"]:
        cells = [figures[column].get(name) for column in columns]
        rows.append([name, *("" if cell is None else spread(cell) for cell in cells)])
    return rows


def _curve(curve: dict[str, Any]) -> list[list[str]]:
    rows = [["users", "films", "microseconds a request"], ["constant", "", f"{curve['constant']}"]]
    for point in (*curve["users"], *curve["films"]):
        rows.append([f"{point['users']:,}", f"{point['films']:,}", f"{point['microseconds']}"])
    return rows


def show(result: dict[str, Any]) -> None:
    """Print all tables for people."""
    for table in tables(result):
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(map(str.ljust, row, widths)).rstrip())
        print()


def keep(name: str, result: dict[str, Any]) -> None:
    """Keep a result for `write_page`."""
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / f"{name}.json").write_text(json.dumps(result))


def write_page() -> None:
    """Write the page from the last kept results."""
    parts = [_INTRODUCTION]
    for name, title in (("requests", "One worker"), ("requests_stack", "Through the stack")):
        path = BUILD / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            parts += [f"## {title}\n", *map(_markdown, tables(result)), _circumstances(result)]
            if "curve" in result:
                parts.append(_PICTURE_TEXT)
    PAGE.write_text("\n".join(parts))


_PICTURE_TEXT = """## Against users and films

![Request time against the number of users and of films](request-time.png)

Calls of the WSGI application in one process (over HTTP, gunicorn's own work would hide most of a
difference), processor time, the applications in turn.
"""


def _markdown(table: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in table]
    lines.insert(1, f"|{'---|' * len(table[0])}")
    return "\n".join(lines) + "\n"


def _circumstances(result: dict[str, Any]) -> str:
    where = result["machine"]
    return (
        f"{result['what']}. Python {where['python']}, {where['cores']} cores of "
        f"{where['processor']}. Command: `{result['command']}`.\n"
    )
